//! A C ABI of a few functions over Hugging Face `tokenizers`, `minijinja` and `parquet`.
//! The C side of it is src/text/bridge.h; keep the two equal.

mod abi;
mod bounds;
mod jinja_source;
mod parquet;
mod python;
mod python_json;
mod strftime;
mod task_template;
mod template;
mod tokenizer;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use abi::{borrowed, deliver, guarded, Bytes, Ids};
use parquet::ParquetFile;
use task_template::TaskTemplate;
use template::{Outcome, Template};
use tokenizer::Tokenizer;

/// # Safety
/// `bytes` came from this library and was not freed before.
#[no_mangle]
pub unsafe extern "C" fn fptq_bridge_free_bytes(bytes: Bytes) {
    if !bytes.data.is_null() {
        drop(Box::from_raw(std::ptr::slice_from_raw_parts_mut(
            bytes.data, bytes.size,
        )));
    }
}

/// # Safety
/// `ids` came from this library and was not freed before.
#[no_mangle]
pub unsafe extern "C" fn fptq_bridge_free_ids(ids: Ids) {
    if !ids.data.is_null() {
        drop(Box::from_raw(std::ptr::slice_from_raw_parts_mut(
            ids.data, ids.size,
        )));
    }
}

/// # Safety
/// `json` points to `size` bytes, `value` and `error` to writable places.
#[no_mangle]
pub unsafe extern "C" fn fptq_tokenizer_new(
    json: *const u8,
    size: usize,
    value: *mut *mut Tokenizer,
    error: *mut Bytes,
) -> bool {
    let json = borrowed(json, size);
    let result = guarded(|| Tokenizer::from_json(json).map(|t| Box::into_raw(Box::new(t))));
    deliver(result, value, error)
}

/// # Safety
/// `tokenizer` came from `fptq_tokenizer_new` and was not freed before.
#[no_mangle]
pub unsafe extern "C" fn fptq_tokenizer_free(tokenizer: *mut Tokenizer) {
    if !tokenizer.is_null() {
        drop(Box::from_raw(tokenizer));
    }
}

/// One byte per id: bit 0, a token has it; bit 1, that token is special. Valid as long as the
/// tokenizer.
///
/// # Safety
/// `tokenizer` is alive and `size` points to a writable place.
#[no_mangle]
pub unsafe extern "C" fn fptq_tokenizer_flags(
    tokenizer: *const Tokenizer,
    size: *mut usize,
) -> *const u8 {
    let flags = (*tokenizer).flags();
    size.write(flags.len());
    flags.as_ptr()
}

/// # Safety
/// `tokenizer` is alive, `text` points to `size` bytes, `value` and `error` to writable places.
#[no_mangle]
pub unsafe extern "C" fn fptq_tokenizer_encode(
    tokenizer: *const Tokenizer,
    text: *const u8,
    size: usize,
    add_special: bool,
    value: *mut Ids,
    error: *mut Bytes,
) -> bool {
    let (tokenizer, text) = (&*tokenizer, borrowed(text, size));
    deliver(
        guarded(|| tokenizer.encode(text, add_special).map(Ids::from_vec)),
        value,
        error,
    )
}

/// # Safety
/// `tokenizer` is alive, `ids` points to `size` ids, `value` and `error` to writable places.
#[no_mangle]
pub unsafe extern "C" fn fptq_tokenizer_decode(
    tokenizer: *const Tokenizer,
    ids: *const u32,
    size: usize,
    skip_special: bool,
    value: *mut Bytes,
    error: *mut Bytes,
) -> bool {
    let (tokenizer, ids) = (&*tokenizer, borrowed(ids, size));
    let result = guarded(|| {
        tokenizer
            .decode(ids, skip_special)
            .map(|text| Bytes::from_vec(text.into_bytes()))
    });
    deliver(result, value, error)
}

/// The id of a token's exact text, or -1.
///
/// # Safety
/// `tokenizer` is alive and `token` points to `size` bytes.
#[no_mangle]
pub unsafe extern "C" fn fptq_tokenizer_id_of(
    tokenizer: *const Tokenizer,
    token: *const u8,
    size: usize,
) -> i64 {
    let (tokenizer, token) = (&*tokenizer, borrowed(token, size));
    guarded(|| Ok(tokenizer.id_of(token)))
        .ok()
        .flatten()
        .map_or(-1, i64::from)
}

/// The text of a token as the vocabulary spells it. False where no token has that id.
///
/// # Safety
/// `tokenizer` is alive and `value` points to a writable place.
#[no_mangle]
pub unsafe extern "C" fn fptq_tokenizer_token_of(
    tokenizer: *const Tokenizer,
    id: u32,
    value: *mut Bytes,
) -> bool {
    let tokenizer = &*tokenizer;
    match guarded(|| Ok(tokenizer.token_of(id))) {
        Ok(Some(token)) => {
            value.write(Bytes::from_vec(token.into_bytes()));
            true
        }
        _ => false,
    }
}

/// # Safety
/// `source` points to `size` bytes, `value` and `error` to writable places.
#[no_mangle]
pub unsafe extern "C" fn fptq_template_new(
    source: *const u8,
    size: usize,
    value: *mut *mut Template,
    error: *mut Bytes,
) -> bool {
    let source = borrowed(source, size);
    let result = guarded(|| Template::new(source).map(|t| Box::into_raw(Box::new(t))));
    deliver(result, value, error)
}

/// # Safety
/// `template` came from `fptq_template_new` and was not freed before.
#[no_mangle]
pub unsafe extern "C" fn fptq_template_free(template: *mut Template) {
    if !template.is_null() {
        drop(Box::from_raw(template));
    }
}

/// The rendered text, or why there is none.
///
/// # Safety
/// `template` is alive, `context` points to `size` bytes, `text` to a writable place.
#[no_mangle]
pub unsafe extern "C" fn fptq_template_render(
    template: *const Template,
    context: *const u8,
    size: usize,
    wall_clock: i64,
    text: *mut Bytes,
) -> Outcome {
    let (template, context) = (&*template, borrowed(context, size));
    let rendered = guarded(|| Ok(template.render(context, wall_clock)));
    let (outcome, bytes) = match rendered {
        Ok(Ok(rendered)) => (Outcome::Done, rendered),
        Ok(Err((outcome, reason))) => (outcome, reason),
        Err(panic) => (Outcome::Failed, panic),
    };
    text.write(Bytes::from_vec(bytes.into_bytes()));
    outcome
}

/// # Safety
/// `source` points to `size` bytes, `value` and `error` to writable places.
#[no_mangle]
pub unsafe extern "C" fn fptq_task_template_new(
    source: *const u8,
    size: usize,
    value: *mut *mut TaskTemplate,
    error: *mut Bytes,
) -> bool {
    let source = borrowed(source, size);
    let result = guarded(|| TaskTemplate::new(source).map(|t| Box::into_raw(Box::new(t))));
    deliver(result, value, error)
}

/// # Safety
/// `template` came from `fptq_task_template_new` and was not freed before.
#[no_mangle]
pub unsafe extern "C" fn fptq_task_template_free(template: *mut TaskTemplate) {
    if !template.is_null() {
        drop(Box::from_raw(template));
    }
}

/// A JSON array of results, or the index of the document that has none and the reason.
///
/// # Safety
/// `template` is alive, `documents` points to `size` bytes, `index` and `text` to writable places.
#[no_mangle]
pub unsafe extern "C" fn fptq_task_template_render(
    template: *const TaskTemplate,
    documents: *const u8,
    size: usize,
    index: *mut usize,
    text: *mut Bytes,
) -> Outcome {
    let (template, documents) = (&*template, borrowed(documents, size));
    let (outcome, at, bytes) = match guarded(|| Ok(template.render(documents))) {
        Ok(Ok(results)) => (Outcome::Done, 0, results),
        Ok(Err(failure)) => (failure.outcome, failure.index, failure.reason),
        Err(panic) => (Outcome::Failed, 0, panic),
    };
    index.write(at);
    text.write(Bytes::from_vec(bytes.into_bytes()));
    outcome
}

/// # Safety
/// `path` points to `size` bytes, `value` and `error` to writable places.
#[no_mangle]
pub unsafe extern "C" fn fptq_parquet_open(
    path: *const u8,
    size: usize,
    value: *mut *mut ParquetFile,
    error: *mut Bytes,
) -> bool {
    let path = OsStr::from_bytes(borrowed(path, size));
    let result =
        guarded(|| ParquetFile::open(path.as_ref()).map(|file| Box::into_raw(Box::new(file))));
    deliver(result, value, error)
}

/// # Safety
/// `file` came from `fptq_parquet_open` and was not freed before.
#[no_mangle]
pub unsafe extern "C" fn fptq_parquet_free(file: *mut ParquetFile) {
    if !file.is_null() {
        drop(Box::from_raw(file));
    }
}

/// # Safety
/// `file` is alive.
#[no_mangle]
pub unsafe extern "C" fn fptq_parquet_row_count(file: *const ParquetFile) -> u64 {
    (*file).row_count()
}

/// # Safety
/// `file` is alive and used by this thread only, `value` and `error` point to writable places.
#[no_mangle]
pub unsafe extern "C" fn fptq_parquet_read(
    file: *mut ParquetFile,
    enough_bytes: usize,
    value: *mut Bytes,
    error: *mut Bytes,
) -> bool {
    let file = &mut *file;
    let result = guarded(|| file.read(enough_bytes).map(Bytes::from_vec));
    deliver(result, value, error)
}
