//! Reads the compact Thrift encoding as far as page headers and a schema's shape need it.
//! Specification: thrift-compact-protocol.md of Apache Thrift.

/// Structs within structs; page statistics need two.
const MAX_DEPTH: usize = 16;

const TRUE: u8 = 1;
const FALSE: u8 = 2;
const BYTE: u8 = 3;
const I16: u8 = 4;
const I32: u8 = 5;
const I64: u8 = 6;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const SET: u8 = 10;
const MAP: u8 = 11;
pub const STRUCT: u8 = 12;

#[derive(Debug, PartialEq)]
pub enum Trouble {
    /// The bytes end before the value does.
    Truncated,
    Malformed(String),
}

pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// Integers and booleans of a struct by field id; what is above 15 is left out.
pub type Numbers = [Option<i64>; 16];

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, at: 0 }
    }

    /// How many bytes were read.
    pub fn at(&self) -> usize {
        self.at
    }

    fn byte(&mut self) -> Result<u8, Trouble> {
        let byte = *self.bytes.get(self.at).ok_or(Trouble::Truncated)?;
        self.at += 1;
        Ok(byte)
    }

    pub fn unsigned(&mut self) -> Result<u64, Trouble> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Trouble::Malformed("an integer of more than 64 bits".into()))
    }

    fn signed(&mut self) -> Result<i64, Trouble> {
        let zigzag = self.unsigned()?;
        Ok((zigzag >> 1) as i64 ^ -((zigzag & 1) as i64))
    }

    fn pass(&mut self, count: u64) -> Result<(), Trouble> {
        if count > (self.bytes.len() - self.at) as u64 {
            return Err(Trouble::Truncated);
        }
        self.at += count as usize;
        Ok(())
    }

    /// The next field's id and type, or none at the struct's end. `last`: the id before, 0 at first.
    pub fn field(&mut self, last: &mut i64) -> Result<Option<(i64, u8)>, Trouble> {
        let head = self.byte()?;
        if head == 0 {
            return Ok(None);
        }
        *last = match head >> 4 {
            0 => self.signed()?,
            delta => last.saturating_add(i64::from(delta)),
        };
        Ok(Some((*last, head & 0x0f)))
    }

    /// The number of elements of a list and their type.
    pub fn list(&mut self) -> Result<(u64, u8), Trouble> {
        let head = self.byte()?;
        let count = match head >> 4 {
            15 => self.unsigned()?,
            short => u64::from(short),
        };
        Ok((count, head & 0x0f))
    }

    /// The value of a field if it is a number.
    pub fn number(&mut self, kind: u8, depth: usize) -> Result<Option<i64>, Trouble> {
        match kind {
            TRUE => Ok(Some(1)),
            FALSE => Ok(Some(0)),
            I16 | I32 | I64 => self.signed().map(Some),
            other => self.skip(other, depth).map(|()| None),
        }
    }

    /// The numbers of a struct; all else in it is passed over.
    pub fn numbers(&mut self) -> Result<Numbers, Trouble> {
        let mut numbers = [None; 16];
        let mut last = 0;
        while let Some((id, kind)) = self.field(&mut last)? {
            let number = self.number(kind, 0)?;
            if let Some(place) = usize::try_from(id).ok().and_then(|id| numbers.get_mut(id)) {
                *place = number;
            }
        }
        Ok(numbers)
    }

    pub fn skip(&mut self, kind: u8, depth: usize) -> Result<(), Trouble> {
        if depth > MAX_DEPTH {
            return Err(Trouble::Malformed("too many structs within structs".into()));
        }
        match kind {
            TRUE | FALSE => Ok(()),
            BYTE => self.pass(1),
            I16 | I32 | I64 => self.unsigned().map(|_| ()),
            DOUBLE => self.pass(8),
            BINARY => {
                let size = self.unsigned()?;
                self.pass(size)
            }
            LIST | SET => {
                let (count, element) = self.list()?;
                (0..count).try_for_each(|_| self.skip_element(element, depth))
            }
            MAP => {
                let count = self.unsigned()?;
                let kinds = if count == 0 { 0 } else { self.byte()? };
                (0..count).try_for_each(|_| {
                    self.skip_element(kinds >> 4, depth)?;
                    self.skip_element(kinds & 0x0f, depth)
                })
            }
            STRUCT => {
                let mut last = 0;
                while let Some((_, kind)) = self.field(&mut last)? {
                    self.skip(kind, depth + 1)?;
                }
                Ok(())
            }
            other => Err(Trouble::Malformed(format!(
                "a value of unknown type {other}"
            ))),
        }
    }

    /// In containers a boolean is a byte, not part of a field's head.
    fn skip_element(&mut self, kind: u8, depth: usize) -> Result<(), Trouble> {
        match kind {
            TRUE | FALSE => self.pass(1),
            other => self.skip(other, depth + 1),
        }
    }
}
