//! What every function of the C ABI needs: borrowed inputs, owned outputs, no panic across it.

use std::panic::{catch_unwind, set_hook, AssertUnwindSafe};
use std::sync::Once;

/// An array that this library allocated. `fptq_bridge_free_bytes` gives it back.
#[repr(C)]
pub struct Bytes {
    pub data: *mut u8,
    pub size: usize,
}

impl Bytes {
    pub fn from_vec(bytes: Vec<u8>) -> Bytes {
        let bytes = bytes.into_boxed_slice();
        let size = bytes.len();
        Bytes {
            data: Box::into_raw(bytes).cast::<u8>(),
            size,
        }
    }
}

/// The same for token ids; `fptq_bridge_free_ids` gives it back.
#[repr(C)]
pub struct Ids {
    pub data: *mut u32,
    pub size: usize,
}

impl Ids {
    pub fn from_vec(ids: Vec<u32>) -> Ids {
        let ids = ids.into_boxed_slice();
        let size = ids.len();
        Ids {
            data: Box::into_raw(ids).cast::<u32>(),
            size,
        }
    }
}

/// The caller's array. A null pointer is an empty one.
///
/// # Safety
/// `data` points to `size` elements that stay valid and unchanged during the call, or is null.
pub unsafe fn borrowed<'a, T>(data: *const T, size: usize) -> &'a [T] {
    if data.is_null() || size == 0 {
        &[]
    } else {
        std::slice::from_raw_parts(data, size)
    }
}

/// Runs `body`. A panic inside becomes an error: unwinding into C++ is undefined behaviour. Nothing
/// is printed, because a library doesn't print.
pub fn guarded<T>(body: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    static SILENCE: Once = Once::new();
    SILENCE.call_once(|| set_hook(Box::new(|_| {})));
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| {
        let reason = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("no reason given");
        Err(format!("the reference implementation gave up: {reason}"))
    })
}

/// Stores the value or the error text where the caller asked; true means that there is a value.
///
/// # Safety
/// `value` and `error` point to writable places.
pub unsafe fn deliver<T>(result: Result<T, String>, value: *mut T, error: *mut Bytes) -> bool {
    match result {
        Ok(v) => {
            value.write(v);
            true
        }
        Err(text) => {
            error.write(Bytes::from_vec(text.into_bytes()));
            false
        }
    }
}

/// The text of `bytes`, or an error that names the first byte that is not UTF-8.
pub fn utf8(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|e| {
        let at = e.valid_up_to();
        format!("byte {at}: expected UTF-8, got 0x{:02x}", bytes[at])
    })
}
