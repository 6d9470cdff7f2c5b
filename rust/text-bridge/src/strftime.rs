//! `datetime.strftime` of Python, on a time that the caller gives.

use std::ffi::CString;

const MAX_BYTES: usize = 4096;

/// Formats `wall_clock`, the local time as seconds since 1970-01-01 00:00 local.
/// None where the format is not a C string or the result has more than 4 KiB.
pub fn strftime(format: &str, wall_clock: i64) -> Option<String> {
    if format.is_empty() {
        return Some(String::new());
    }
    // A mark in front, because an empty result and a failure look the same to C.
    let format = CString::new(format!("x{}", naive(format))).ok()?;
    let mut out = vec![0u8; MAX_BYTES];
    // SAFETY: all pointers are to live objects of the stated sizes.
    let written = unsafe {
        let time: libc::time_t = wall_clock;
        let mut parts: libc::tm = std::mem::zeroed();
        if libc::gmtime_r(&time, &mut parts).is_null() {
            return None;
        }
        libc::strftime(out.as_mut_ptr().cast(), out.len(), format.as_ptr(), &parts)
    };
    if written == 0 {
        return None;
    }
    out.truncate(written);
    Some(String::from_utf8_lossy(&out[1..]).into_owned())
}

/// Python's naive datetimes have no zone (%z, %Z are empty); microseconds (%f) are not known here.
fn naive(format: &str) -> String {
    let mut out = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('z' | 'Z') => {}
            Some('f') => out.push_str("000000"),
            Some(directive) => out.extend(['%', directive]),
            None => out.push_str("%%"),
        }
    }
    out
}
