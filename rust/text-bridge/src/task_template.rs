//! Templates of evaluation tasks: Jinja as lm-evaluation-harness sets it up, within limits.

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior, Value};
use regex::Regex;

use crate::bounds::{self, on_deep_stack};
use crate::python;
use crate::template::{explain, outcome_of, Outcome};

/// Work that one document may cost: instructions, and 64 bytes of data for each.
const BASE_FUEL: u64 = 100_000;
/// Further work for each byte of the document.
const FUEL_PER_INPUT_BYTE: u64 = 16;
const RECURSION_LIMIT: usize = 100;
const NAME: &str = "task";

pub struct TaskTemplate {
    environment: Environment<'static>,
    /// The source of `{{ expression }}` where the template is nothing else: then a document's
    /// result is the value, whatever its type, and not text.
    expression: Option<String>,
}

/// Why a document has no result: its index among those given, and the reason.
pub struct Failure {
    pub outcome: Outcome,
    pub index: usize,
    pub reason: String,
}

impl TaskTemplate {
    pub fn new(source: &[u8]) -> Result<TaskTemplate, String> {
        let source = bounds::checked_source(source)?;
        on_deep_stack(|| {
            let mut environment = Environment::new();
            let syntax = SyntaxConfig::builder().keep_trailing_newline(true).build();
            environment.set_syntax(syntax.map_err(|e| e.to_string())?);
            environment.set_undefined_behavior(UndefinedBehavior::Strict);
            environment.set_recursion_limit(RECURSION_LIMIT);
            python::install(&mut environment);
            bounds::install(&mut environment);
            environment.add_filter("regex_replace", regex_replace);
            let inside = source
                .strip_prefix("{{")
                .and_then(|rest| rest.strip_suffix("}}"));
            let expression = inside
                .filter(|text| environment.compile_expression(text).is_ok())
                .map(str::to_string);
            environment
                .add_template_owned(NAME, source)
                .map_err(|e| explain(&e))?;
            Ok(TaskTemplate {
                environment,
                expression,
            })
        })?
    }

    /// `documents`: a JSON array of objects, each the variables of one rendering. Returns a JSON
    /// array of as many results: text, or the value of a template that is one expression.
    pub fn render(&self, documents: &[u8]) -> Result<String, Failure> {
        on_deep_stack(|| self.render_here(documents)).unwrap_or_else(|reason| {
            Err(Failure {
                outcome: Outcome::Failed,
                index: 0,
                reason,
            })
        })
    }

    fn render_here(&self, documents: &[u8]) -> Result<String, Failure> {
        let failure = |outcome, index, reason| Failure {
            outcome,
            index,
            reason,
        };
        let documents: Vec<Box<serde_json::value::RawValue>> = serde_json::from_slice(documents)
            .map_err(|e| failure(Outcome::Failed, 0, e.to_string()))?;
        let mut results = Vec::with_capacity(documents.len());
        for (index, document) in documents.iter().enumerate() {
            let text = document.get();
            let result = self.render_one(text).map_err(|error| {
                let (outcome, reason) = outcome_of(&error);
                failure(outcome, index, reason)
            })?;
            results.push(result);
        }
        serde_json::to_string(&results).map_err(|e| failure(Outcome::Failed, 0, e.to_string()))
    }

    fn render_one(&self, document: &str) -> Result<Value, Error> {
        let variables: Value = serde_json::from_str(document)
            .map_err(|e| Error::new(ErrorKind::BadSerialization, e.to_string()))?;
        let mut environment = self.environment.clone();
        let fuel = BASE_FUEL + FUEL_PER_INPUT_BYTE * document.len() as u64;
        environment.set_fuel(Some(fuel));
        match &self.expression {
            Some(expression) => {
                let value = environment
                    .compile_expression(expression)?
                    .eval(variables)?;
                if value.is_undefined() {
                    return Err(Error::from(ErrorKind::UndefinedError));
                }
                Ok(value)
            }
            None => {
                let template = environment.get_template(NAME)?;
                template.render(variables).map(Value::from)
            }
        }
    }
}

/// Python's `re.sub(pattern, repl, string, count=count)` with `\1` and `\g<name>` in `repl`.
fn regex_replace(
    text: &str,
    pattern: &str,
    replacement: &str,
    count: Option<usize>,
) -> Result<String, Error> {
    let invalid = |what: String| Error::new(ErrorKind::InvalidOperation, what);
    let regex =
        Regex::new(pattern).map_err(|e| invalid(format!("regex_replace: {pattern:?}: {e}")))?;
    let replacement = rust_replacement(replacement).map_err(invalid)?;
    Ok(regex
        .replacen(text, count.unwrap_or(0), replacement.as_str())
        .into_owned())
}

/// `repl` of `re.sub` as the crate `regex` writes it: `\1` becomes `${1}`, `$` becomes `$$`.
fn rust_replacement(replacement: &str) -> Result<String, String> {
    let mut out = String::new();
    let mut chars = replacement.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '$' => out.push_str("$$"),
            '\\' => match chars.next() {
                Some('\\') => out.push('\\'),
                Some('n') => out.push('\n'),
                Some('t') => out.push('\t'),
                Some('g') if chars.peek() == Some(&'<') => {
                    chars.next();
                    let name: String = chars.by_ref().take_while(|c| *c != '>').collect();
                    out.push_str(&format!("${{{name}}}"));
                }
                Some(digit) if digit.is_ascii_digit() => {
                    out.push_str("${");
                    out.push(digit);
                    if let Some(second) = chars.next_if(char::is_ascii_digit) {
                        out.push(second);
                    }
                    out.push('}');
                }
                other => {
                    let escape = other.map(String::from).unwrap_or_default();
                    return Err(format!("regex_replace: bad escape \\{escape}"));
                }
            },
            other => out.push(other),
        }
    }
    Ok(out)
}
