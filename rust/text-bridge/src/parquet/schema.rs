//! From a file's schema to the shape of its rows.

use std::ops::Range;

use parquet::basic::{ConvertedType, LogicalType, Repetition};
use parquet::schema::types::Type;

use super::thrift::{Reader, Trouble, STRUCT};

/// Groups within groups. Readers of schemas and of JSON recurse.
const MAX_DEPTH: usize = 32;
pub const MAX_COLUMNS: usize = 4096;

/// A field of a row. Definition levels count how many of the optional and repeated fields on the
/// way to a value are there; repetition levels say which list an entry continues.
pub struct Node {
    pub name: String,
    /// Null where the definition level is below.
    pub null_below: Option<i16>,
    /// The leaves of this field.
    pub leaves: Range<usize>,
    pub kind: Kind,
}

pub enum Kind {
    Leaf,
    Group(Vec<Node>),
    List {
        /// No elements where the definition level is below.
        empty_below: i16,
        /// The next entry belongs to the same list where its repetition level is not below.
        ends_below: i16,
        element: Box<Node>,
    },
}

#[derive(Clone, Copy)]
struct Levels {
    definition: i16,
    repetition: i16,
}

/// The fields of a row. Errors: text.
pub fn row_fields(root: &Type) -> Result<Vec<Node>, String> {
    let mut leaves = 0;
    let levels = Levels {
        definition: 0,
        repetition: 0,
    };
    fields_of(root, levels, &mut leaves)
}

fn fields_of(group: &Type, levels: Levels, leaves: &mut usize) -> Result<Vec<Node>, String> {
    if group.get_fields().is_empty() {
        return Err(format!(
            "column {}: expected fields, got none",
            group.name()
        ));
    }
    group
        .get_fields()
        .iter()
        .map(|field| node(field, levels, leaves))
        .collect()
}

fn node(field: &Type, mut levels: Levels, leaves: &mut usize) -> Result<Node, String> {
    match repetition(field) {
        Repetition::REPEATED => list(field, field.name(), levels, leaves, None),
        Repetition::OPTIONAL => {
            levels.definition += 1;
            present(field, levels, leaves, Some(levels.definition))
        }
        Repetition::REQUIRED => present(field, levels, leaves, None),
    }
}

fn repetition(field: &Type) -> Repetition {
    let info = field.get_basic_info();
    if info.has_repetition() {
        info.repetition()
    } else {
        Repetition::REQUIRED
    }
}

/// The field once its own repetition is dealt with.
fn present(
    field: &Type,
    levels: Levels,
    leaves: &mut usize,
    null_below: Option<i16>,
) -> Result<Node, String> {
    let first = *leaves;
    let kind = if field.is_primitive() {
        *leaves += 1;
        Kind::Leaf
    } else if is_list(field) {
        let [repeated] = field.get_fields() else {
            return Err(format!(
                "column {}: expected one field in a list, got {}",
                field.name(),
                field.get_fields().len()
            ));
        };
        if repetition(repeated) != Repetition::REPEATED {
            return Err(format!(
                "column {}: expected a repeated field in a list",
                field.name()
            ));
        }
        return list(repeated, field.name(), levels, leaves, null_below);
    } else {
        Kind::Group(fields_of(field, levels, leaves)?)
    };
    Ok(Node {
        name: field.name().to_string(),
        null_below,
        leaves: first..*leaves,
        kind,
    })
}

/// A list whose elements are `repeated`, or are inside it where it only is their wrapping.
fn list(
    repeated: &Type,
    name: &str,
    levels: Levels,
    leaves: &mut usize,
    null_below: Option<i16>,
) -> Result<Node, String> {
    let first = *leaves;
    let inside = Levels {
        definition: levels.definition + 1,
        repetition: levels.repetition + 1,
    };
    let element = match wrapped_element(repeated, name) {
        Some(element) => node(element, inside, leaves)?,
        None => present(repeated, inside, leaves, None)?,
    };
    Ok(Node {
        name: name.to_string(),
        null_below,
        leaves: first..*leaves,
        kind: Kind::List {
            empty_below: inside.definition,
            ends_below: inside.repetition,
            element: Box::new(element),
        },
    })
}

/// LogicalTypes.md of the format, "Backward-compatibility rules", for lists; those without the
/// annotation are never wrapped, and neither are the pairs of a map.
fn wrapped_element<'a>(repeated: &'a Type, list_name: &str) -> Option<&'a Type> {
    let is_wrapping = repeated.is_group()
        && repeated.get_fields().len() == 1
        && repetition(&repeated.get_fields()[0]) != Repetition::REPEATED
        && repeated.name() != list_name
        && repeated.name() != "array"
        && repeated.name() != format!("{list_name}_tuple");
    is_wrapping.then(|| repeated.get_fields()[0].as_ref())
}

/// Lists and maps; a map is a list of {"key", "value"}.
fn is_list(field: &Type) -> bool {
    let info = field.get_basic_info();
    matches!(
        info.logical_type_ref(),
        Some(LogicalType::List | LogicalType::Map)
    ) || matches!(
        info.converted_type(),
        ConvertedType::LIST | ConvertedType::MAP | ConvertedType::MAP_KEY_VALUE
    )
}

/// Checks the schema in a file's footer, before a recursive reader sees it, for depth and size.
pub fn check_schema(footer: &[u8]) -> Result<(), String> {
    let damaged = |trouble| match trouble {
        Trouble::Truncated => "the file's metadata is cut off".to_string(),
        Trouble::Malformed(what) => format!("the file's metadata is damaged: {what}"),
    };
    let mut reader = Reader::new(footer);
    let mut last = 0;
    while let Some((id, kind)) = reader.field(&mut last).map_err(damaged)? {
        if id != 2 {
            reader.skip(kind, 0).map_err(damaged)?;
            continue;
        }
        let (count, element) = reader.list().map_err(damaged)?;
        if element != STRUCT {
            return Err("the file's metadata is damaged: a schema of other things".to_string());
        }
        return check_elements(&mut reader, count, damaged);
    }
    Err("the file's metadata has no schema".to_string())
}

fn check_elements(
    reader: &mut Reader<'_>,
    count: u64,
    damaged: impl Fn(Trouble) -> String,
) -> Result<(), String> {
    // How many children each open group still has to get.
    let mut open: Vec<i64> = Vec::new();
    let mut columns = 0;
    for _ in 0..count {
        while open.last() == Some(&0) {
            open.pop();
        }
        if let Some(left) = open.last_mut() {
            *left -= 1;
        }
        // SchemaElement: field 5 is num_children.
        match reader.numbers().map_err(&damaged)?[5] {
            Some(children) if children > 0 => open.push(children),
            _ => columns += 1,
        }
        if open.len() > MAX_DEPTH {
            return Err(format!(
                "expected at most {MAX_DEPTH} levels of groups in the schema, got more"
            ));
        }
        if columns > MAX_COLUMNS {
            return Err(format!("expected at most {MAX_COLUMNS} columns, got more"));
        }
    }
    Ok(())
}
