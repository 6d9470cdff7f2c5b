//! The columns of a row group, read entry by entry.

use std::fs::File;
use std::sync::Arc;

use parquet::column::reader::ColumnReaderImpl;
use parquet::data_type::{
    BoolType, ByteArrayType, DataType, DoubleType, FixedLenByteArrayType, FloatType, Int32Type,
    Int64Type, Int96Type,
};
use parquet::file::metadata::ColumnChunkMetaData;

use super::pages::{Budget, ChunkPages};
use super::values::{meaning, AppendJson, Meaning};

/// Records that are decoded at a time.
const BATCH_RECORDS: usize = 512;

/// The levels of an entry; see schema.rs.
#[derive(Clone, Copy)]
pub struct Entry {
    pub definition: i16,
    pub repetition: i16,
}

/// A column from front to end. Errors are texts.
pub trait Column: Send {
    /// Makes sure that the next record is decoded; false at the column's end.
    fn fill(&mut self) -> Result<bool, String>;
    /// The next entry, or none where all that is decoded was taken: records are decoded whole.
    fn peek(&self) -> Option<Entry>;
    /// Takes the next entry and appends its value, if it has one, to `out`.
    fn take(&mut self, out: Option<&mut Vec<u8>>) -> Result<(), String>;
    fn name(&self) -> String;
}

struct TypedColumn<T: DataType> {
    reader: ColumnReaderImpl<T>,
    name: String,
    meaning: Meaning,
    max_definition: i16,
    budget: Budget,
    definitions: Vec<i16>,
    repetitions: Vec<i16>,
    values: Vec<T::T>,
    entries: usize,
    next_entry: usize,
    next_value: usize,
}

impl<T: DataType> Column for TypedColumn<T>
where
    T::T: AppendJson,
{
    fn fill(&mut self) -> Result<bool, String> {
        if self.next_entry < self.entries {
            return Ok(true);
        }
        self.definitions.clear();
        self.repetitions.clear();
        self.values.clear();
        self.budget.start_step();
        let (_, _, entries) = self
            .reader
            .read_records(
                BATCH_RECORDS,
                Some(&mut self.definitions),
                Some(&mut self.repetitions),
                &mut self.values,
            )
            .map_err(|e| format!("column {}: {e}", self.name))?;
        (self.entries, self.next_entry, self.next_value) = (entries, 0, 0);
        Ok(entries > 0)
    }

    fn peek(&self) -> Option<Entry> {
        (self.next_entry < self.entries).then(|| Entry {
            // Columns without a kind of level have none stored.
            definition: *self
                .definitions
                .get(self.next_entry)
                .unwrap_or(&self.max_definition),
            repetition: *self.repetitions.get(self.next_entry).unwrap_or(&0),
        })
    }

    fn take(&mut self, out: Option<&mut Vec<u8>>) -> Result<(), String> {
        let entry = self.peek().ok_or_else(|| self.short())?;
        self.next_entry += 1;
        if entry.definition == self.max_definition {
            let value = self
                .values
                .get(self.next_value)
                .ok_or_else(|| self.short())?;
            if let Some(out) = out {
                value
                    .append(self.meaning, out)
                    .map_err(|e| format!("column {}: {e}", self.name))?;
            }
            self.next_value += 1;
        }
        Ok(())
    }

    fn name(&self) -> String {
        self.name.clone()
    }
}

impl<T: DataType> TypedColumn<T> {
    fn short(&self) -> String {
        format!(
            "column {}: expected as many entries as its neighbours have, got fewer",
            self.name
        )
    }
}

/// Opens a column of a row group.
pub fn open_column(
    file: &Arc<File>,
    chunk: &ColumnChunkMetaData,
    budget: &Budget,
) -> Result<Box<dyn Column>, String> {
    use parquet::basic::Type;
    match chunk.column_type() {
        Type::BOOLEAN => typed::<BoolType>(file, chunk, budget),
        Type::INT32 => typed::<Int32Type>(file, chunk, budget),
        Type::INT64 => typed::<Int64Type>(file, chunk, budget),
        Type::INT96 => typed::<Int96Type>(file, chunk, budget),
        Type::FLOAT => typed::<FloatType>(file, chunk, budget),
        Type::DOUBLE => typed::<DoubleType>(file, chunk, budget),
        Type::BYTE_ARRAY => typed::<ByteArrayType>(file, chunk, budget),
        Type::FIXED_LEN_BYTE_ARRAY => typed::<FixedLenByteArrayType>(file, chunk, budget),
    }
}

fn typed<T: DataType>(
    file: &Arc<File>,
    chunk: &ColumnChunkMetaData,
    budget: &Budget,
) -> Result<Box<dyn Column>, String>
where
    T::T: AppendJson,
{
    let column = chunk.column_descr_ptr();
    let name = column.path().string();
    let begin = chunk
        .dictionary_page_offset()
        .filter(|&offset| offset > 0)
        .map_or(chunk.data_page_offset(), |offset| {
            offset.min(chunk.data_page_offset())
        });
    let (begin, size) = match (u64::try_from(begin), u64::try_from(chunk.compressed_size())) {
        (Ok(begin), Ok(size)) => (begin, size),
        _ => return Err(format!("column {name}: its place in the file is negative")),
    };
    let file_bytes = file.metadata().map_err(|e| e.to_string())?.len();
    let end = begin.checked_add(size).filter(|&end| end <= file_bytes);
    let end = end.ok_or_else(|| {
        format!("column {name}: expected it to end within the file's {file_bytes} bytes")
    })?;
    let budget = budget.for_column();
    let pages = ChunkPages::new(
        file.clone(),
        begin..end,
        chunk.compression(),
        column.clone(),
        budget.clone(),
    );
    Ok(Box::new(TypedColumn::<T> {
        meaning: meaning(&column),
        max_definition: column.max_def_level(),
        reader: ColumnReaderImpl::new(column, Box::new(pages)),
        name,
        budget,
        definitions: Vec::new(),
        repetitions: Vec::new(),
        values: Vec::new(),
        entries: 0,
        next_entry: 0,
        next_value: 0,
    }))
}
