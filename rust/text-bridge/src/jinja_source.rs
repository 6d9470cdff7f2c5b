//! Rewrites a template's source where `transformers` reads it otherwise than minijinja.

use crate::bounds::{FILTER, MAX_ASSIGNMENTS, MAX_TAG_CODE_BYTES};

/// The source as minijinja takes it: line ends as Jinja reads them; transformers' block
/// `{% generation %}`, which only marks text for training, as a plain scope; and what is assigned
/// to a namespace goes through the filter of bounds.rs. An error where the source is beyond the
/// bounds of that file.
pub fn plain_jinja(source: &str) -> Result<String, String> {
    let source = source.replace("\r\n", "\n").replace('\r', "\n");
    let mut out = String::with_capacity(source.len());
    let mut rest = source.as_str();
    let mut assignments = 0;
    while let Some(at) = rest.find("{") {
        let (text, tag) = rest.split_at(at);
        out.push_str(text);
        let (end, code_bytes) = match tag.as_bytes().get(1) {
            Some(b'#') => (tag.find("#}").map_or(tag.len(), |end| end + 2), 0),
            Some(b'{') => tag_end(tag, "}}"),
            Some(b'%') => tag_end(tag, "%}"),
            _ => (1, 0),
        };
        if code_bytes > MAX_TAG_CODE_BYTES {
            return Err(format!(
                "expected at most {MAX_TAG_CODE_BYTES} bytes in a tag, besides strings, got {code_bytes}"
            ));
        }
        let (tag, after) = tag.split_at(end);
        match tag_name(tag) {
            "generation" => out.push_str(&tag.replacen("generation", "with", 1)),
            "endgeneration" => out.push_str(&tag.replacen("endgeneration", "endwith", 1)),
            "set" => {
                assignments += 1;
                out.push_str(&bounded_set(tag).unwrap_or_else(|| tag.to_string()));
            }
            "raw" => {
                // Nothing inside is a tag.
                let end = raw_end(after);
                out.push_str(tag);
                out.push_str(&after[..end]);
                rest = &after[end..];
                continue;
            }
            _ => out.push_str(tag),
        }
        rest = after;
    }
    if assignments > MAX_ASSIGNMENTS {
        return Err(format!(
            "expected at most {MAX_ASSIGNMENTS} assignments, got {assignments}"
        ));
    }
    out.push_str(rest);
    Ok(out)
}

/// The first word of a block tag, or "" where `tag` is none.
fn tag_name(tag: &str) -> &str {
    let Some(inside) = tag.strip_prefix("{%") else {
        return "";
    };
    let inside = inside
        .strip_prefix(['-', '+'])
        .unwrap_or(inside)
        .trim_start();
    let end = inside
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(inside.len());
    &inside[..end]
}

/// Where a tag ends, behind `close`, which may stand in a string without ending it; and how many
/// of the bytes before that are not in strings.
fn tag_end(tag: &str, close: &str) -> (usize, usize) {
    let bytes = tag.as_bytes();
    let mut quote = None;
    let mut code_bytes = 0;
    let mut at = 2;
    while at < bytes.len() {
        match (quote, bytes[at]) {
            (Some(_), b'\\') => at += 1,
            (Some(q), c) if q == c => quote = None,
            (Some(_), _) => {}
            (None, _) if bytes[at..].starts_with(close.as_bytes()) => {
                return (at + close.len(), code_bytes)
            }
            (None, c) => {
                code_bytes += 1;
                if c == b'"' || c == b'\'' {
                    quote = Some(c);
                }
            }
        }
        at += 1;
    }
    (tag.len(), code_bytes)
}

/// Where the tag that ends a raw block begins, or the end of the text.
fn raw_end(text: &str) -> usize {
    let mut from = 0;
    while let Some(at) = text[from..].find("{%") {
        if tag_name(&text[from + at..]) == "endraw" {
            return from + at;
        }
        from += at + 2;
    }
    text.len()
}

/// `{% set ns.name = value %}` with the value filtered; none for other assignments.
fn bounded_set(tag: &str) -> Option<String> {
    let (target, rest) = tag.split_once('=')?;
    if !target.contains('.') {
        return None;
    }
    let inside = rest.strip_suffix("%}")?;
    let marker = if inside.ends_with(['-', '+']) {
        &inside[inside.len() - 1..]
    } else {
        ""
    };
    let value = &inside[..inside.len() - marker.len()];
    Some(format!("{target}=({value})|{FILTER} {marker}%}}"))
}
