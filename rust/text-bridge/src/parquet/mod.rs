//! Rows of a Parquet file as lines of JSON, within bounded memory whatever the file claims.
//!
//! The crate `parquet` reads the footer and decodes pages. Its own reader of rows is not used: it
//! unpacks whatever a page holds, and assembles a list of any length.

mod codecs;
mod columns;
mod pages;
mod schema;
mod thrift;
mod values;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};

use columns::{open_column, Column};
use pages::Budget;
use schema::{check_schema, row_fields, Kind, Node};

/// The footer of a file with a thousand row groups of a thousand columns has about as much.
const MAX_FOOTER_BYTES: u64 = 128 << 20;
const MAX_ROW_BYTES: usize = 256 << 20;

pub struct ParquetFile {
    file: Arc<File>,
    metadata: ParquetMetaData,
    fields: Vec<Node>,
    next_group: usize,
    group: Option<Group>,
    /// Rows that were given out.
    rows: u64,
    failed: bool,
}

struct Group {
    columns: Vec<Box<dyn Column>>,
    rows_left: i64,
}

impl ParquetFile {
    pub fn open(path: &Path) -> Result<ParquetFile, String> {
        let file = File::open(path).map_err(|e| format!("cannot open: {e}"))?;
        check_schema(&footer(&file)?)?;
        let metadata = ParquetMetaDataReader::new()
            .parse_and_finish(&file)
            .map_err(|e| e.to_string())?;
        let fields = row_fields(metadata.file_metadata().schema())?;
        Ok(ParquetFile {
            file: Arc::new(file),
            metadata,
            fields,
            next_group: 0,
            group: None,
            rows: 0,
            failed: false,
        })
    }

    /// What the file says; the rows are the proof.
    pub fn row_count(&self) -> u64 {
        u64::try_from(self.metadata.file_metadata().num_rows()).unwrap_or(0)
    }

    /// The next rows, a line of JSON each, until they have `enough_bytes`; empty at the end.
    pub fn read(&mut self, enough_bytes: usize) -> Result<Vec<u8>, String> {
        if self.failed {
            return Err("reading failed before".to_string());
        }
        // Until the end of this call: a panic in the middle leaves columns out of step.
        self.failed = true;
        let mut out = Vec::new();
        while out.len() < enough_bytes && self.next_row(&mut out)? {
            self.rows += 1;
        }
        self.failed = false;
        Ok(out)
    }

    fn next_row(&mut self, out: &mut Vec<u8>) -> Result<bool, String> {
        loop {
            if let Some(group) = &mut self.group {
                if group.rows_left > 0 {
                    group.rows_left -= 1;
                    append_row(&self.fields, &mut group.columns, out)
                        .map_err(|e| format!("row {}: {e}", self.rows))?;
                    return Ok(true);
                }
                self.group = None;
            }
            if self.next_group >= self.metadata.num_row_groups() {
                return Ok(false);
            }
            self.group = Some(self.open_group(self.next_group)?);
            self.next_group += 1;
        }
    }

    fn open_group(&self, index: usize) -> Result<Group, String> {
        let group = self.metadata.row_group(index);
        let leaves = self.fields.last().map_or(0, |field| field.leaves.end);
        if group.columns().len() != leaves {
            return Err(format!(
                "row group {index}: expected {leaves} columns, got {}",
                group.columns().len()
            ));
        }
        let budget = Budget::default();
        let columns = group
            .columns()
            .iter()
            .map(|chunk| match chunk.file_path() {
                None | Some("") => open_column(&self.file, chunk, &budget),
                Some(_) => Err("columns in other files are not supported".to_string()),
            })
            .collect::<Result<Vec<_>, String>>()
            .map_err(|e| format!("row group {index}: {e}"))?;
        Ok(Group {
            columns,
            rows_left: group.num_rows(),
        })
    }
}

/// The file's metadata, still encoded.
fn footer(file: &File) -> Result<Vec<u8>, String> {
    let size = file
        .metadata()
        .map_err(|e| format!("cannot read: {e}"))?
        .len();
    let mut tail = [0u8; 8];
    if size < 12 || file.read_exact_at(&mut tail, size - 8).is_err() || &tail[4..] != b"PAR1" {
        return Err("expected a Parquet file, which ends with PAR1, got another file".to_string());
    }
    let footer_bytes = u64::from(u32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]));
    if footer_bytes > size - 12 || footer_bytes > MAX_FOOTER_BYTES {
        return Err(format!(
            "expected metadata of at most {} bytes, got {footer_bytes}",
            MAX_FOOTER_BYTES.min(size - 12)
        ));
    }
    let mut footer = vec![0; footer_bytes as usize];
    file.read_exact_at(&mut footer, size - 8 - footer_bytes)
        .map_err(|e| format!("cannot read: {e}"))?;
    Ok(footer)
}

fn append_row(
    fields: &[Node],
    columns: &mut [Box<dyn Column>],
    out: &mut Vec<u8>,
) -> Result<(), String> {
    for column in columns.iter_mut() {
        if !column.fill()? {
            return Err(format!(
                "column {}: expected as many rows as the file says, got fewer",
                column.name()
            ));
        }
    }
    let begin = out.len();
    append_group(fields, columns, out, begin)?;
    out.push(b'\n');
    for column in columns.iter() {
        if column.peek().is_some_and(|entry| entry.repetition != 0) {
            return Err(format!(
                "column {}: expected as many entries as its neighbours have, got more",
                column.name()
            ));
        }
    }
    Ok(())
}

fn append_group(
    fields: &[Node],
    columns: &mut [Box<dyn Column>],
    out: &mut Vec<u8>,
    row_begin: usize,
) -> Result<(), String> {
    out.push(b'{');
    for (index, field) in fields.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        serde_json::to_writer(&mut *out, &field.name).map_err(|e| e.to_string())?;
        out.push(b':');
        append_field(field, columns, out, row_begin)?;
    }
    out.push(b'}');
    Ok(())
}

fn append_field(
    field: &Node,
    columns: &mut [Box<dyn Column>],
    out: &mut Vec<u8>,
    row_begin: usize,
) -> Result<(), String> {
    if out.len() - row_begin > MAX_ROW_BYTES {
        return Err(format!(
            "expected at most {MAX_ROW_BYTES} bytes of JSON, got more"
        ));
    }
    let first = field.leaves.start;
    // Where there is no entry, taking one says so.
    let definition = columns[first].peek().map_or(i16::MAX, |e| e.definition);
    if field.null_below.is_some_and(|level| definition < level) {
        out.extend_from_slice(b"null");
        return pass(field, columns);
    }
    match &field.kind {
        Kind::Leaf => columns[first].take(Some(out)),
        Kind::Group(fields) => append_group(fields, columns, out, row_begin),
        Kind::List { empty_below, .. } if definition < *empty_below => {
            out.extend_from_slice(b"[]");
            pass(field, columns)
        }
        Kind::List {
            ends_below,
            element,
            ..
        } => {
            out.push(b'[');
            loop {
                append_field(element, columns, out, row_begin)?;
                match columns[first].peek() {
                    Some(entry) if entry.repetition >= *ends_below => out.push(b','),
                    _ => break,
                }
            }
            out.push(b']');
            Ok(())
        }
    }
}

/// Takes the entry that stands for something absent in each of the field's columns.
fn pass(field: &Node, columns: &mut [Box<dyn Column>]) -> Result<(), String> {
    columns[field.leaves.clone()]
        .iter_mut()
        .try_for_each(|column| column.take(None))
}
