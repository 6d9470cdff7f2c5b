//! Bounds on what a hostile template can do to this process's stack.
//!
//! minijinja counts work (fuel) and bounds the nesting of calls and brackets. What is left is
//! recursion over values and over chains such as `a.b.c...`: the first grows only through
//! namespaces, which keep what a loop adds level by level, the second with the source.

use minijinja::value::{Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State};

use crate::abi::utf8;
use crate::jinja_source::plain_jinja;

/// The filter that jinja_source.rs puts on what is assigned to a namespace.
pub const FILTER: &str = "fptq_bounded";

/// Published templates have up to about 30 KB.
pub const MAX_SOURCE_BYTES: usize = 128 * 1024;
/// Bounds chains of operators, on which the compiler's work grows with the square.
pub const MAX_TAG_CODE_BYTES: usize = 4096;
/// Bounds chains of values that are computed on demand, each from the one before.
pub const MAX_ASSIGNMENTS: usize = 1000;
/// For chains that these still allow: `elif` behind `elif`, thousands of times.
const STACK_BYTES: usize = 128 * 1024 * 1024;
const MAX_DEPTH: usize = 64;
/// Values that the filter looks at for one unit of fuel.
const VISITS_PER_FUEL: u64 = 8;

pub fn install(environment: &mut Environment<'static>) {
    environment.add_filter(FILTER, |state: &State, value: Value| bounded(state, value));
}

/// A template's source as minijinja takes it, if it is text and no longer than allowed.
pub fn checked_source(source: &[u8]) -> Result<String, String> {
    if source.len() > MAX_SOURCE_BYTES {
        return Err(format!(
            "expected at most {MAX_SOURCE_BYTES} bytes, got {}",
            source.len()
        ));
    }
    plain_jinja(utf8(source)?)
}

/// Runs `body` on a stack of its own. Only the part that is used takes memory.
pub fn on_deep_stack<T: Send>(body: impl FnOnce() -> T + Send) -> Result<T, String> {
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, body)
            .map_err(|e| format!("no memory for a template's stack: {e}"))?
            .join()
            .map_err(|_| "the template engine gave up".to_string())
    })
}

/// `value`, or an error where it is nested too deeply or holds a namespace (and so could come to
/// hold itself). What is computed on demand is computed now: such values nest invisibly.
fn bounded(state: &State, value: Value) -> Result<Value, Error> {
    let value = match value.kind() {
        ValueKind::Iterable => Value::from(value.try_iter()?.collect::<Vec<_>>()),
        _ => value,
    };
    let mut visits = 0;
    check(&value, 0, &mut visits)?;
    state.consume_fuel(visits / VISITS_PER_FUEL)?;
    Ok(value)
}

fn check(value: &Value, depth: usize, visits: &mut u64) -> Result<(), Error> {
    *visits += 1;
    if !matches!(
        value.kind(),
        ValueKind::Seq | ValueKind::Map | ValueKind::Iterable
    ) {
        return Ok(());
    }
    let refused = |what: &str| {
        Err(Error::new(
            ErrorKind::OutOfFuel,
            format!("a namespace cannot hold {what}"),
        ))
    };
    if depth > MAX_DEPTH {
        return refused("values that are nested this deeply");
    }
    if value
        .as_object()
        .is_some_and(|object| object.type_name().ends_with("::Namespace"))
    {
        return refused("a namespace");
    }
    for item in value.try_iter()? {
        let child = if value.kind() == ValueKind::Map {
            value.get_item(&item)?
        } else {
            item
        };
        check(&child, depth + 1, visits)?;
    }
    Ok(())
}
