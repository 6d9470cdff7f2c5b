//! Chat templates: Jinja as `transformers` sets it up, within limits.

use std::fmt;

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, Error, ErrorKind, Value};

use crate::bounds::{self, on_deep_stack};
use crate::python;
use crate::strftime::strftime;

/// Work that every rendering may do: instructions, and 64 bytes of data for each.
const BASE_FUEL: u64 = 1_000_000;
/// Further work for each byte of input, so that a long conversation is no attack.
const FUEL_PER_INPUT_BYTE: u64 = 16;
/// Levels of macros and recursive loops.
const RECURSION_LIMIT: usize = 100;
const NAME: &str = "chat_template";

/// Why there is no text. The numbers are those of bridge.h.
#[repr(i32)]
#[derive(Clone, Copy, PartialEq)]
pub enum Outcome {
    Done = 0,
    Failed = 1,
    Refused = 2,
    Limit = 3,
}

pub struct Template {
    environment: Environment<'static>,
}

impl Template {
    pub fn new(source: &[u8]) -> Result<Template, String> {
        let source = bounds::checked_source(source)?;
        on_deep_stack(|| {
            let mut environment = Environment::new();
            let syntax = SyntaxConfig::builder()
                .trim_blocks(true)
                .lstrip_blocks(true)
                .build();
            environment.set_syntax(syntax.map_err(|e| e.to_string())?);
            environment.set_recursion_limit(RECURSION_LIMIT);
            python::install(&mut environment);
            bounds::install(&mut environment);
            environment.add_function("raise_exception", raise_exception);
            environment
                .add_template_owned(NAME, source)
                .map_err(|e| explain(&e))?;
            Ok(Template { environment })
        })?
    }

    /// `context`: a JSON object, the template's variables. `wall_clock`: see `strftime`.
    pub fn render(&self, context: &[u8], wall_clock: i64) -> Result<String, (Outcome, String)> {
        on_deep_stack(|| self.render_here(context, wall_clock))
            .unwrap_or_else(|error| Err((Outcome::Failed, error)))
    }

    fn render_here(&self, context: &[u8], wall_clock: i64) -> Result<String, (Outcome, String)> {
        let failed = |text: String| (Outcome::Failed, text);
        let size = context.len() as u64;
        let context: Value = serde_json::from_slice(context).map_err(|e| failed(e.to_string()))?;

        let mut environment = self.environment.clone();
        environment.set_fuel(Some(BASE_FUEL + FUEL_PER_INPUT_BYTE * size));
        environment.add_function("strftime_now", move |format: &str| {
            strftime(format, wall_clock).ok_or_else(|| {
                Error::new(
                    ErrorKind::InvalidOperation,
                    "strftime_now: not a usable format",
                )
            })
        });
        let template = environment
            .get_template(NAME)
            .map_err(|e| failed(explain(&e)))?;
        template.render(context).map_err(|error| outcome_of(&error))
    }
}

/// What a failed rendering means, and the reason in words.
pub fn outcome_of(error: &Error) -> (Outcome, String) {
    if let Some(refusal) = refusal(error) {
        (Outcome::Refused, refusal.0.clone())
    } else if root(error).kind() == ErrorKind::OutOfFuel {
        (Outcome::Limit, explain(error))
    } else {
        (Outcome::Failed, explain(error))
    }
}

/// What a template said through `raise_exception`.
#[derive(Debug)]
struct Refusal(String);

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for Refusal {}

fn raise_exception(message: String) -> Result<Value, Error> {
    let error = Error::new(ErrorKind::InvalidOperation, message.clone());
    Err(error.with_source(Refusal(message)))
}

fn refusal(error: &Error) -> Option<&Refusal> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(current) = cause {
        if let Some(refusal) = current.downcast_ref::<Refusal>() {
            return Some(refusal);
        }
        cause = current.source();
    }
    None
}

/// The first of the errors that led to this one.
fn root(error: &Error) -> &Error {
    let mut current = error;
    while let Some(cause) = std::error::Error::source(current).and_then(|e| e.downcast_ref()) {
        current = cause;
    }
    current
}

/// "line 3: unknown filter: filter frobnicate is unknown", of the innermost error that has a line.
pub fn explain(error: &Error) -> String {
    let cause = root(error);
    let what = match cause.detail() {
        Some(detail) if cause.kind() == ErrorKind::OutOfFuel => detail.to_string(),
        None if cause.kind() == ErrorKind::OutOfFuel => "too many steps or too much text".into(),
        Some(detail) => format!("{}: {detail}", cause.kind()),
        None => cause.kind().to_string(),
    };
    match cause.line().or(error.line()) {
        Some(line) => format!("line {line}: {what}"),
        None => what,
    }
}
