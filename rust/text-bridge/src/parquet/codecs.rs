//! The compressions of Parquet's pages.

use std::io::Read;

use parquet::basic::Compression;
use parquet::errors::{ParquetError, Result};

fn error(text: String) -> ParquetError {
    ParquetError::General(text)
}

/// Unpacks to exactly `size` bytes.
pub fn unpack(compression: Compression, packed: &[u8], size: usize) -> Result<Vec<u8>> {
    let wrong = |e: String| error(format!("a compressed page is damaged: {e}"));
    let mut out = Vec::with_capacity(size);
    // A byte more than allowed tells a page that is too long from one that fits.
    let limit = size as u64 + 1;
    let read = match compression {
        Compression::SNAPPY => {
            if snap::raw::decompress_len(packed).map_err(|e| wrong(e.to_string()))? != size {
                return Err(wrong(format!("expected {size} bytes, got another size")));
            }
            out.resize(size, 0);
            snap::raw::Decoder::new()
                .decompress(packed, &mut out)
                .map_err(|e| wrong(e.to_string()))?;
            Ok(size)
        }
        Compression::LZ4_RAW => {
            out.resize(size, 0);
            let written = lz4_flex::block::decompress_into(packed, &mut out)
                .map_err(|e| wrong(e.to_string()))?;
            out.truncate(written);
            Ok(written)
        }
        Compression::GZIP(_) => flate2::read::MultiGzDecoder::new(packed)
            .take(limit)
            .read_to_end(&mut out),
        Compression::BROTLI(_) => brotli_decompressor::Decompressor::new(packed, 1 << 16)
            .take(limit)
            .read_to_end(&mut out),
        Compression::ZSTD(_) => zstd::stream::read::Decoder::new(packed)
            .and_then(|decoder| decoder.take(limit).read_to_end(&mut out)),
        other => return Err(error(format!("compression {other} is not supported"))),
    };
    read.map_err(|e| wrong(e.to_string()))?;
    if out.len() != size {
        return Err(wrong(format!("expected {size} bytes, got another size")));
    }
    Ok(out)
}
