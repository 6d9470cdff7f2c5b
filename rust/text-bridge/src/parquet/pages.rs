//! Cuts the pages out of a column chunk and unpacks them, never to more than a page says and may have.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::{Compression, Encoding};
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::schema::types::ColumnDescPtr;

use super::codecs::unpack;
use super::thrift::{Numbers, Reader, Trouble, STRUCT};

/// Writers cut pages at about 1 MiB.
const MAX_PAGE_BYTES: u64 = 256 << 20;
/// Pages and dictionaries of all columns that are held at a time.
const MAX_HELD_BYTES: u64 = 1 << 30;
/// What a dictionary entry takes besides its bytes.
const DICTIONARY_ENTRY_BYTES: u64 = 40;
/// Values of lists that one step of reading may have to hold.
const MAX_LIST_VALUES: u64 = 1 << 23;
/// Statistics in a header may hold long strings.
const MAX_HEADER_BYTES: u64 = 16 << 20;

fn error(text: String) -> ParquetError {
    ParquetError::General(text)
}

/// What the columns of a row group share and what one of them has used.
#[derive(Clone, Default)]
pub struct Budget {
    held_bytes: Arc<AtomicU64>,
    list_values: Arc<AtomicU64>,
}

impl Budget {
    /// For another column: the bytes are shared, the values are its own.
    pub fn for_column(&self) -> Budget {
        Budget {
            held_bytes: self.held_bytes.clone(),
            list_values: Arc::default(),
        }
    }

    /// A step of reading begins.
    pub fn start_step(&self) {
        self.list_values.store(0, Ordering::Relaxed);
    }

    fn count_list_values(&self, count: u64) -> Result<()> {
        if self.list_values.fetch_add(count, Ordering::Relaxed) + count > MAX_LIST_VALUES {
            return Err(error(format!(
                "expected at most {MAX_LIST_VALUES} values in the lists of a page, got more"
            )));
        }
        Ok(())
    }

    fn exchange(&self, old: &mut u64, new: u64) -> Result<()> {
        let before = self.held_bytes.fetch_add(new, Ordering::Relaxed);
        self.held_bytes.fetch_sub(*old, Ordering::Relaxed);
        let held = before + new - *old;
        *old = new;
        if held > MAX_HELD_BYTES {
            return Err(error(format!(
                "expected pages of at most {MAX_HELD_BYTES} bytes in all columns, got more"
            )));
        }
        Ok(())
    }
}

struct Header {
    kind: i64,
    unpacked_bytes: u64,
    packed_bytes: u64,
    v1: Option<Numbers>,
    dictionary: Option<Numbers>,
    v2: Option<Numbers>,
    header_bytes: u64,
}

/// The number of that field, which has to be there and not be negative.
fn number(numbers: &Numbers, id: usize) -> Result<u32> {
    numbers[id]
        .and_then(|n| u32::try_from(n).ok())
        .ok_or_else(|| error(format!("a page header's field {id} is missing or wrong")))
}

fn encoding(numbers: &Numbers, id: usize) -> Result<Encoding> {
    #[allow(deprecated)] // BIT_PACKED: levels of old files
    match number(numbers, id)? {
        0 => Ok(Encoding::PLAIN),
        2 => Ok(Encoding::PLAIN_DICTIONARY),
        3 => Ok(Encoding::RLE),
        4 => Ok(Encoding::BIT_PACKED),
        5 => Ok(Encoding::DELTA_BINARY_PACKED),
        6 => Ok(Encoding::DELTA_LENGTH_BYTE_ARRAY),
        8 => Ok(Encoding::RLE_DICTIONARY),
        9 => Ok(Encoding::BYTE_STREAM_SPLIT),
        other => Err(error(format!("encoding {other} is not supported"))),
    }
}

fn parse_header(bytes: &[u8]) -> std::result::Result<Header, Trouble> {
    let mut reader = Reader::new(bytes);
    let (mut kind, mut sizes) = (None, [None, None]);
    let (mut v1, mut dictionary, mut v2) = (None, None, None);
    let mut last = 0;
    while let Some((id, field_kind)) = reader.field(&mut last)? {
        match (id, field_kind) {
            (5, STRUCT) => v1 = Some(reader.numbers()?),
            (7, STRUCT) => dictionary = Some(reader.numbers()?),
            (8, STRUCT) => v2 = Some(reader.numbers()?),
            (1, _) => kind = reader.number(field_kind, 0)?,
            (2, _) => sizes[0] = reader.number(field_kind, 0)?,
            (3, _) => sizes[1] = reader.number(field_kind, 0)?,
            _ => reader.skip(field_kind, 0)?,
        }
    }
    let size = |size: Option<i64>| {
        size.and_then(|s| u64::try_from(s).ok())
            .ok_or_else(|| Trouble::Malformed("a page without a size".into()))
    };
    Ok(Header {
        kind: kind.ok_or_else(|| Trouble::Malformed("a page without a type".into()))?,
        unpacked_bytes: size(sizes[0])?,
        packed_bytes: size(sizes[1])?,
        v1,
        dictionary,
        v2,
        header_bytes: reader.at() as u64,
    })
}

/// The pages of one column in one row group.
pub struct ChunkPages {
    file: Arc<File>,
    /// The part of the file that is not read yet.
    at: u64,
    end: u64,
    compression: Compression,
    column: ColumnDescPtr,
    budget: Budget,
    held_page: u64,
    held_dictionary: u64,
    next: Option<Header>,
}

impl ChunkPages {
    pub fn new(
        file: Arc<File>,
        range: std::ops::Range<u64>,
        compression: Compression,
        column: ColumnDescPtr,
        budget: Budget,
    ) -> ChunkPages {
        ChunkPages {
            file,
            at: range.start,
            end: range.end,
            compression,
            column,
            budget,
            held_page: 0,
            held_dictionary: 0,
            next: None,
        }
    }

    fn bytes_at(&self, offset: u64, size: u64) -> Result<Vec<u8>> {
        let mut bytes = vec![0; size as usize];
        self.file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }

    /// The next page's header, or none at the chunk's end.
    fn header(&mut self) -> Result<Option<&Header>> {
        if self.next.is_none() && self.at < self.end {
            let mut window = 4096;
            self.next = loop {
                let size = (self.end - self.at).min(window);
                match parse_header(&self.bytes_at(self.at, size)?) {
                    Ok(header) => break Some(header),
                    Err(Trouble::Truncated)
                        if size < self.end - self.at && window < MAX_HEADER_BYTES =>
                    {
                        window *= 8;
                    }
                    Err(Trouble::Truncated) => {
                        return Err(error("a page header is cut off".into()))
                    }
                    Err(Trouble::Malformed(what)) => {
                        return Err(error(format!("a page header is damaged: {what}")))
                    }
                }
            };
        }
        Ok(self.next.as_ref())
    }

    /// The page's bytes, unpacked. `plain_bytes`: so many in front are never compressed.
    fn body(&mut self, header: &Header, plain_bytes: u64, packed: bool) -> Result<Bytes> {
        if header.unpacked_bytes > MAX_PAGE_BYTES || header.packed_bytes > MAX_PAGE_BYTES {
            return Err(error(format!(
                "expected a page of at most {MAX_PAGE_BYTES} bytes, got {}",
                header.unpacked_bytes.max(header.packed_bytes)
            )));
        }
        let begin = self.at + header.header_bytes;
        if header.packed_bytes > self.end - begin {
            return Err(error("a page reaches beyond its column chunk".into()));
        }
        let bytes = self.bytes_at(begin, header.packed_bytes)?;
        self.at = begin + header.packed_bytes;
        if !packed || self.compression == Compression::UNCOMPRESSED {
            return Ok(bytes.into());
        }
        if plain_bytes > header.packed_bytes.min(header.unpacked_bytes) {
            return Err(error("a page's levels are longer than the page".into()));
        }
        let (plain, compressed) = bytes.split_at(plain_bytes as usize);
        let size = (header.unpacked_bytes - plain_bytes) as usize;
        let mut out = plain.to_vec();
        if size > 0 {
            out.append(&mut unpack(self.compression, compressed, size)?);
        }
        Ok(out.into())
    }

    fn dictionary(&mut self, header: &Header) -> Result<Page> {
        let fields = header
            .dictionary
            .ok_or_else(|| error("a dictionary page without its header".into()))?;
        let buf = self.body(header, 0, true)?;
        let num_values = number(&fields, 1)?;
        // Every value has a byte at least: the crate makes room for all of them first.
        if u64::from(num_values) > buf.len() as u64 {
            return Err(error(format!(
                "expected at most {} values in a dictionary of so many bytes, got {num_values}",
                buf.len()
            )));
        }
        let held = buf.len() as u64 + u64::from(num_values) * DICTIONARY_ENTRY_BYTES;
        self.budget.exchange(&mut self.held_dictionary, held)?;
        Ok(Page::DictionaryPage {
            buf,
            num_values,
            encoding: encoding(&fields, 2)?,
            is_sorted: false,
        })
    }

    fn data_v1(&mut self, header: &Header) -> Result<Page> {
        let fields = header
            .v1
            .ok_or_else(|| error("a data page without its header".into()))?;
        let num_values = number(&fields, 1)?;
        self.count_values(num_values)?;
        let buf = self.body(header, 0, true)?;
        self.budget
            .exchange(&mut self.held_page, buf.len() as u64)?;
        let values = encoding(&fields, 2)?;
        let mut levels = 0;
        for max_level in [self.column.max_rep_level(), self.column.max_def_level()] {
            if max_level > 0 {
                levels += level_bytes(&buf, levels);
            }
        }
        check_lengths(values, &buf, levels, num_values)?;
        Ok(Page::DataPage {
            buf,
            num_values,
            encoding: values,
            def_level_encoding: encoding(&fields, 3)?,
            rep_level_encoding: encoding(&fields, 4)?,
            statistics: None,
        })
    }

    fn data_v2(&mut self, header: &Header) -> Result<Page> {
        let fields = header
            .v2
            .ok_or_else(|| error("a data page without its header".into()))?;
        let num_values = number(&fields, 1)?;
        self.count_values(num_values)?;
        let (def_bytes, rep_bytes) = (number(&fields, 5)?, number(&fields, 6)?);
        let levels = u64::from(def_bytes) + u64::from(rep_bytes);
        let packed = fields[7] != Some(0);
        let buf = self.body(header, levels, packed)?;
        if levels > buf.len() as u64 {
            return Err(error("a page's levels are longer than the page".into()));
        }
        self.budget
            .exchange(&mut self.held_page, buf.len() as u64)?;
        let values = encoding(&fields, 4)?;
        check_lengths(values, &buf, levels as usize, num_values)?;
        Ok(Page::DataPageV2 {
            buf,
            num_values,
            encoding: values,
            num_nulls: number(&fields, 2)?,
            num_rows: number(&fields, 3)?,
            def_levels_byte_len: def_bytes,
            rep_levels_byte_len: rep_bytes,
            is_compressed: packed,
            statistics: None,
        })
    }

    fn count_values(&self, num_values: u32) -> Result<()> {
        if self.column.max_rep_level() == 0 {
            return Ok(());
        }
        self.budget.count_list_values(u64::from(num_values))
    }
}

/// Bytes of the levels of a v1 page that begin at `at`: a length and that many bytes.
fn level_bytes(page: &[u8], at: usize) -> usize {
    page.get(at..at.saturating_add(4)).map_or(0, |l| {
        4 + u32::from_le_bytes([l[0], l[1], l[2], l[3]]) as usize
    })
}

/// Encoded lengths of strings begin with their number, for which the crate makes room.
fn check_lengths(encoding: Encoding, page: &[u8], at: usize, num_values: u32) -> Result<()> {
    if encoding != Encoding::DELTA_LENGTH_BYTE_ARRAY {
        return Ok(());
    }
    let mut reader = Reader::new(page.get(at..).unwrap_or(&[]));
    let numbers = [reader.unsigned(), reader.unsigned(), reader.unsigned()];
    match numbers {
        [Ok(block), Ok(parts), Ok(lengths)]
            if lengths <= u64::from(num_values) && block <= 1 << 20 && parts <= 1 << 12 =>
        {
            Ok(())
        }
        _ => Err(error("the lengths of a page's strings are damaged".into())),
    }
}

impl Drop for ChunkPages {
    fn drop(&mut self) {
        let held = self.held_page + self.held_dictionary;
        self.budget.held_bytes.fetch_sub(held, Ordering::Relaxed);
    }
}

impl Iterator for ChunkPages {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Result<Page>> {
        self.get_next_page().transpose()
    }
}

impl PageReader for ChunkPages {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        loop {
            self.header()?;
            let Some(header) = self.next.take() else {
                return Ok(None);
            };
            match header.kind {
                0 => return self.data_v1(&header).map(Some),
                2 => return self.dictionary(&header).map(Some),
                3 => return self.data_v2(&header).map(Some),
                // Indices and what later versions add.
                _ => {
                    self.body(&header, 0, false)?;
                }
            }
        }
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        Err(error("pages are read in order only".into()))
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.get_next_page().map(|_| ())
    }

    fn at_record_boundary(&mut self) -> Result<bool> {
        Ok(self.header()?.is_none_or(|header| header.kind == 3))
    }
}
