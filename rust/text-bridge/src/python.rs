//! What Python gives to templates in `transformers` and minijinja does not.

use minijinja::value::{from_args, Kwargs, Tuple, Value, ValueKind};
use minijinja::{escape_formatter, Environment, Error, ErrorKind, Output, State};

use crate::python_json::{dumps, float_repr, Options};

/// Wider fields than any text has. minijinja-contrib allocates a width before it counts it.
const MAX_WIDTH_DIGITS: usize = 4;

pub fn install(environment: &mut Environment<'static>) {
    environment.set_formatter(print);
    environment.set_unknown_method_callback(method);
    environment.add_filter("tojson", tojson);
    // As in Python, where a text and a dict are sequences too.
    environment.add_test("sequence", |value: &Value| {
        matches!(
            value.kind(),
            ValueKind::Seq | ValueKind::Map | ValueKind::String
        )
    });
    environment.add_test("callable", |value: &Value| value.kind() == ValueKind::Plain);
    environment.remove_global("debug");
}

/// Writes what `{{ value }}` gives: numbers as Python prints them.
fn print(out: &mut Output, state: &mut State, value: &Value) -> Result<(), Error> {
    if value.kind() == ValueKind::Number && !value.is_integer() {
        let number = f64::try_from(value.clone())?;
        if number.is_finite() {
            return out.write_str(&float_repr(number)).map_err(Error::from);
        }
    }
    escape_formatter(out, state, value)
}

/// transformers' filter: json.dumps, not escaped for HTML as Jinja's own is.
fn tojson(
    value: &Value,
    ensure_ascii: Option<bool>,
    indent: Option<Value>,
    arguments: Kwargs,
) -> Result<String, Error> {
    let named = |name: &str| arguments.get::<Option<Value>>(name);
    let flag = |name: &str| Ok::<bool, Error>(named(name)?.is_some_and(|v| v.is_true()));
    let indent = match indent.or(named("indent")?) {
        Some(indent) if !indent.is_none() => Some(match indent.as_str() {
            Some(text) => text.to_string(),
            None => " ".repeat(i64::try_from(indent)?.clamp(0, 64) as usize),
        }),
        _ => None,
    };
    let (mut item, mut key) = (
        if indent.is_some() { "," } else { ", " }.to_string(),
        ": ".to_string(),
    );
    if let Some(separators) = named("separators")?.filter(|v| !v.is_none()) {
        item = separators.get_item_by_index(0)?.to_string();
        key = separators.get_item_by_index(1)?.to_string();
    }
    let options = Options {
        ensure_ascii: ensure_ascii.unwrap_or(flag("ensure_ascii")?),
        indent,
        item_separator: item,
        key_separator: key,
        sort_keys: flag("sort_keys")?,
    };
    arguments.assert_all_used()?;
    dumps(value, &options)
}

/// Methods of Python's types: what templates use beyond minijinja-contrib's own list.
fn method(state: &mut State, value: &Value, method: &str, args: &[Value]) -> Result<Value, Error> {
    if let Some(text) = value.as_str() {
        match method {
            "removeprefix" => {
                let (prefix,): (&str,) = from_args(args)?;
                return Ok(Value::from(text.strip_prefix(prefix).unwrap_or(text)));
            }
            "removesuffix" => {
                let (suffix,): (&str,) = from_args(args)?;
                return Ok(Value::from(text.strip_suffix(suffix).unwrap_or(text)));
            }
            "partition" => {
                let (separator,): (&str,) = from_args(args)?;
                let parts = text.split_once(separator);
                let (head, tail) = parts.unwrap_or((text, ""));
                let middle = if parts.is_some() { separator } else { "" };
                return Ok(Value::from(Tuple::from(
                    [head, middle, tail].map(Value::from),
                )));
            }
            "rpartition" => {
                let (separator,): (&str,) = from_args(args)?;
                let parts = text.rsplit_once(separator);
                let (head, tail) = parts.unwrap_or(("", text));
                let middle = if parts.is_some() { separator } else { "" };
                return Ok(Value::from(Tuple::from(
                    [head, middle, tail].map(Value::from),
                )));
            }
            "rsplit" => {
                let (separator, count): (&str, Option<i64>) = from_args(args)?;
                let pieces = match count.filter(|n| *n >= 0) {
                    Some(n) => text.rsplitn(n as usize + 1, separator).collect::<Vec<_>>(),
                    None => text.rsplit(separator).collect(),
                };
                return Ok(pieces.into_iter().rev().map(Value::from).collect());
            }
            "format" if longest_number(text) > MAX_WIDTH_DIGITS => {
                return Err(Error::new(
                    ErrorKind::OutOfFuel,
                    format!("format: expected widths of at most {MAX_WIDTH_DIGITS} digits"),
                ));
            }
            "casefold" => return Ok(Value::from(text.to_lowercase())),
            _ => {}
        }
    }
    if value.kind() == ValueKind::Seq && method == "index" {
        let (wanted,): (&Value,) = from_args(args)?;
        let position = value.try_iter()?.position(|item| item == *wanted);
        return position.map(Value::from).ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidOperation,
                format!("{} is not in list", display_repr(wanted)),
            )
        });
    }
    minijinja_contrib::pycompat::unknown_method_callback(state, value, method, args)
}

/// A value in a message: texts in quotes, and no more of it than a line has room for.
fn display_repr(value: &Value) -> String {
    let text = format!("{value:?}");
    text.chars().take(80).collect()
}

/// The length of the longest run of digits.
fn longest_number(text: &str) -> usize {
    text.split(|c: char| !c.is_ascii_digit())
        .map(str::len)
        .max()
        .unwrap_or(0)
}
