//! `json.dumps` of Python, as chat templates call it through the filter `tojson`.

use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, Value};

/// Deeper values are refused; what JSON brings in is shallower, so only a template builds them.
const MAX_DEPTH: usize = 128;
/// Deep indentation makes much text of few values.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// The arguments of `json.dumps`. Nothing is escaped for HTML.
pub struct Options {
    pub ensure_ascii: bool,
    /// What one level of nesting is indented with; none means everything on one line.
    pub indent: Option<String>,
    pub item_separator: String,
    pub key_separator: String,
    pub sort_keys: bool,
}

pub fn dumps(value: &Value, options: &Options) -> Result<String, Error> {
    let mut writer = Writer {
        out: String::new(),
        options,
    };
    writer.write(value, 0)?;
    Ok(writer.out)
}

struct Writer<'a> {
    out: String,
    options: &'a Options,
}

impl Writer<'_> {
    fn write(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        if depth > MAX_DEPTH {
            return Err(unserializable(format!(
                "a value nested deeper than {MAX_DEPTH} levels"
            )));
        }
        if self.out.len() > MAX_BYTES {
            return Err(Error::new(ErrorKind::OutOfFuel, "tojson: too much text"));
        }
        match value.kind() {
            ValueKind::None => self.out.push_str("null"),
            ValueKind::Bool => self
                .out
                .push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => self.out.push_str(&number(value)?),
            ValueKind::String => self.string(value.as_str().unwrap_or_default()),
            ValueKind::Seq | ValueKind::Iterable => self.list(value, depth)?,
            ValueKind::Map => self.map(value, depth)?,
            other => return Err(unserializable(format!("a value of type {other}"))),
        }
        Ok(())
    }

    fn list(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        let mut empty = true;
        self.out.push('[');
        for item in value.try_iter()? {
            self.begin_item(empty, depth);
            empty = false;
            self.write(&item, depth + 1)?;
        }
        self.end_items(empty, depth);
        self.out.push(']');
        Ok(())
    }

    fn map(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        let mut entries = Vec::new();
        for key in value.try_iter()? {
            let item = value.get_item(&key)?;
            entries.push((key_text(&key)?, item));
        }
        if self.options.sort_keys {
            entries.sort_by(|a, b| a.0.cmp(&b.0));
        }
        self.out.push('{');
        let mut empty = true;
        for (key, item) in entries {
            self.begin_item(empty, depth);
            empty = false;
            self.string(&key);
            self.out.push_str(&self.options.key_separator);
            self.write(&item, depth + 1)?;
        }
        self.end_items(empty, depth);
        self.out.push('}');
        Ok(())
    }

    fn begin_item(&mut self, first: bool, depth: usize) {
        if !first {
            self.out.push_str(&self.options.item_separator);
        }
        self.new_line(depth + 1);
    }

    fn end_items(&mut self, empty: bool, depth: usize) {
        if !empty {
            self.new_line(depth);
        }
    }

    fn new_line(&mut self, depth: usize) {
        if let Some(indent) = &self.options.indent {
            self.out.push('\n');
            for _ in 0..depth {
                self.out.push_str(indent);
            }
        }
    }

    fn string(&mut self, text: &str) {
        self.out.push('"');
        for c in text.chars() {
            match c {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                '\u{8}' => self.out.push_str("\\b"),
                '\u{c}' => self.out.push_str("\\f"),
                c if c < ' ' || (self.options.ensure_ascii && c > '~') => {
                    let mut units = [0; 2];
                    for unit in c.encode_utf16(&mut units) {
                        self.out.push_str(&format!("\\u{unit:04x}"));
                    }
                }
                c => self.out.push(c),
            }
        }
        self.out.push('"');
    }
}

fn unserializable(what: String) -> Error {
    Error::new(
        ErrorKind::InvalidOperation,
        format!("tojson: cannot write {what} as JSON"),
    )
}

/// A key of an object: Python turns numbers, booleans and None into text, and refuses the rest.
fn key_text(key: &Value) -> Result<String, Error> {
    match key.kind() {
        ValueKind::String => Ok(key.as_str().unwrap_or_default().to_string()),
        ValueKind::Number => number(key),
        ValueKind::Bool => Ok(if key.is_true() { "true" } else { "false" }.to_string()),
        ValueKind::None => Ok("null".to_string()),
        other => Err(unserializable(format!("a key of type {other}"))),
    }
}

fn number(value: &Value) -> Result<String, Error> {
    if value.is_integer() {
        return Ok(value.to_string());
    }
    let x = f64::try_from(value.clone())?;
    if x.is_nan() {
        return Ok("NaN".to_string());
    }
    if x.is_infinite() {
        return Ok(if x > 0.0 { "Infinity" } else { "-Infinity" }.to_string());
    }
    Ok(float_repr(x))
}

/// Python's `repr` of a finite float.
pub fn float_repr(x: f64) -> String {
    // Rust gives the same shortest digits: "-1.25e-7".
    let scientific = format!("{x:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        let plain = x.to_string();
        if plain.contains('.') {
            plain
        } else {
            plain + ".0"
        }
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        format!("{mantissa}e{sign}{:02}", exponent.abs())
    }
}
