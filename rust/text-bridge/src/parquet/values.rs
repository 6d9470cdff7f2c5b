//! A value of a column as JSON.

use parquet::basic::{ConvertedType, LogicalType, TimeUnit};
use parquet::data_type::{ByteArray, FixedLenByteArray, Int96};
use parquet::schema::types::ColumnDescriptor;

/// What the bits of a column mean.
#[derive(Clone, Copy, PartialEq)]
pub enum Meaning {
    Plain,
    Unsigned,
    Date,
    /// Ticks per second.
    Timestamp(i64),
    /// Digits behind the point.
    Decimal(u32),
    Half,
}

pub fn meaning(column: &ColumnDescriptor) -> Meaning {
    let decimal = |scale: i32| Meaning::Decimal(u32::try_from(scale).unwrap_or(0));
    match column.logical_type_ref() {
        Some(LogicalType::Integer(integer)) if !integer.is_signed => return Meaning::Unsigned,
        Some(LogicalType::Date) => return Meaning::Date,
        Some(LogicalType::Timestamp(timestamp)) => {
            return Meaning::Timestamp(match timestamp.unit {
                TimeUnit::MILLIS => 1000,
                TimeUnit::MICROS => 1_000_000,
                TimeUnit::NANOS => 1_000_000_000,
            })
        }
        Some(LogicalType::Decimal(d)) => return decimal(d.scale),
        Some(LogicalType::Float16) => return Meaning::Half,
        _ => {}
    }
    match column.converted_type() {
        ConvertedType::UINT_8
        | ConvertedType::UINT_16
        | ConvertedType::UINT_32
        | ConvertedType::UINT_64 => Meaning::Unsigned,
        ConvertedType::DATE => Meaning::Date,
        ConvertedType::TIMESTAMP_MILLIS => Meaning::Timestamp(1000),
        ConvertedType::TIMESTAMP_MICROS => Meaning::Timestamp(1_000_000),
        ConvertedType::DECIMAL => decimal(column.type_scale()),
        _ => Meaning::Plain,
    }
}

/// Appends itself to a line of JSON. Errors: text.
pub trait AppendJson {
    fn append(&self, meaning: Meaning, out: &mut Vec<u8>) -> Result<(), String>;
}

impl AppendJson for bool {
    fn append(&self, _: Meaning, out: &mut Vec<u8>) -> Result<(), String> {
        out.extend_from_slice(if *self { b"true" } else { b"false" });
        Ok(())
    }
}

impl AppendJson for i32 {
    fn append(&self, meaning: Meaning, out: &mut Vec<u8>) -> Result<(), String> {
        match meaning {
            Meaning::Unsigned => text(out, &(*self as u32).to_string()),
            _ => i64::from(*self).append(meaning, out)?,
        }
        Ok(())
    }
}

impl AppendJson for i64 {
    fn append(&self, meaning: Meaning, out: &mut Vec<u8>) -> Result<(), String> {
        match meaning {
            Meaning::Unsigned => text(out, &(*self as u64).to_string()),
            Meaning::Date => text(out, &format!("\"{}\"", date(*self))),
            Meaning::Timestamp(ticks) => text(out, &timestamp(i128::from(*self), ticks)),
            Meaning::Decimal(scale) => text(out, &decimal(i128::from(*self), scale)),
            Meaning::Plain | Meaning::Half => text(out, &self.to_string()),
        }
        Ok(())
    }
}

impl AppendJson for Int96 {
    /// A time as old writers put it: nanoseconds of the day, then the Julian day.
    fn append(&self, _: Meaning, out: &mut Vec<u8>) -> Result<(), String> {
        const DAY_NS: i128 = 86_400_000_000_000;
        let data = self.data();
        let nanoseconds = i128::from(data[0]) | i128::from(data[1]) << 32;
        let days = i128::from(data[2]) - 2_440_588;
        text(out, &timestamp(days * DAY_NS + nanoseconds, 1_000_000_000));
        Ok(())
    }
}

impl AppendJson for f32 {
    fn append(&self, meaning: Meaning, out: &mut Vec<u8>) -> Result<(), String> {
        f64::from(*self).append(meaning, out)
    }
}

impl AppendJson for f64 {
    /// JSON has no word for what is not finite: null.
    fn append(&self, _: Meaning, out: &mut Vec<u8>) -> Result<(), String> {
        serde_json::to_writer(out, self).map_err(|e| e.to_string())
    }
}

impl AppendJson for ByteArray {
    fn append(&self, meaning: Meaning, out: &mut Vec<u8>) -> Result<(), String> {
        append_bytes(self.data(), meaning, out)
    }
}

impl AppendJson for FixedLenByteArray {
    fn append(&self, meaning: Meaning, out: &mut Vec<u8>) -> Result<(), String> {
        append_bytes(self.data(), meaning, out)
    }
}

fn append_bytes(bytes: &[u8], meaning: Meaning, out: &mut Vec<u8>) -> Result<(), String> {
    match (meaning, bytes) {
        (Meaning::Decimal(scale), _) if (1..=16).contains(&bytes.len()) => {
            // Two's complement, most significant byte first.
            let sign = if bytes[0] & 0x80 == 0 { 0 } else { -1 };
            let value = bytes
                .iter()
                .fold(sign, |value: i128, byte| value << 8 | i128::from(*byte));
            text(out, &decimal(value, scale));
            Ok(())
        }
        (Meaning::Decimal(_), _) => Err(format!(
            "expected a decimal number of 1 to 16 bytes, got {}",
            bytes.len()
        )),
        (Meaning::Half, [low, high]) => {
            half(u16::from_le_bytes([*low, *high])).append(meaning, out)
        }
        _ => {
            let string = std::str::from_utf8(bytes).map_err(|e| {
                format!(
                    "expected text in UTF-8, got 0x{:02x} as byte {}",
                    bytes[e.valid_up_to()],
                    e.valid_up_to()
                )
            })?;
            serde_json::to_writer(out, string).map_err(|e| e.to_string())
        }
    }
}

fn text(out: &mut Vec<u8>, json: &str) {
    out.extend_from_slice(json.as_bytes());
}

/// IEEE 754 binary16: 1 sign bit, 5 of exponent, 10 of fraction.
fn half(bits: u16) -> f64 {
    let fraction = f64::from(bits & 0x3ff);
    let magnitude = match bits >> 10 & 0x1f {
        0 => fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        exponent => (1024.0 + fraction) * 2f64.powi(i32::from(exponent) - 25),
    };
    if bits & 0x8000 == 0 {
        magnitude
    } else {
        -magnitude
    }
}

/// A string, because a decimal number need not fit a JSON reader's floating point.
fn decimal(value: i128, scale: u32) -> String {
    let sign = if value < 0 { "-" } else { "" };
    let digits = value.unsigned_abs().to_string();
    // More digits behind the point than any decimal type has.
    let scale = scale.min(1000) as usize;
    if scale == 0 {
        return format!("\"{sign}{digits}\"");
    }
    let digits = format!("{digits:0>width$}", width = scale + 1);
    let (whole, part) = digits.split_at(digits.len() - scale);
    format!("\"{sign}{whole}.{part}\"")
}

/// "2024-02-29" from days since 1970-01-01, in the proleptic Gregorian calendar.
fn date(days: i64) -> String {
    // Years begin in March here, so that the leap day is a year's last.
    let days = days.clamp(-1 << 40, 1 << 40) + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

/// "2024-02-29T12:00:00.250", quoted, from ticks since 1970.
fn timestamp(ticks: i128, per_second: i64) -> String {
    let per_second = i128::from(per_second);
    let (seconds, fraction) = (ticks.div_euclid(per_second), ticks.rem_euclid(per_second));
    let day = seconds.div_euclid(86_400) as i64;
    let second = seconds.rem_euclid(86_400);
    let digits = per_second.ilog10() as usize;
    format!(
        "\"{}T{:02}:{:02}:{:02}.{fraction:0digits$}\"",
        date(day),
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}
