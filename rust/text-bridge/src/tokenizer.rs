//! A loaded tokenizer.json.

use std::str::FromStr;

use crate::abi::utf8;

/// Ids beyond this are taken for a damaged file: no published vocabulary has a tenth of it.
const MAX_VOCABULARY: usize = 1 << 24;

const KNOWN: u8 = 1;
const SPECIAL: u8 = 2;

pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    /// For each id below the largest one + 1: whether it stands for a token, and for a special one.
    flags: Vec<u8>,
}

impl Tokenizer {
    pub fn from_json(json: &[u8]) -> Result<Tokenizer, String> {
        let json = utf8(json)?;
        let mut inner = tokenizers::Tokenizer::from_str(json).map_err(|e| e.to_string())?;
        // Some published files carry the truncation or padding of their training run.
        inner.with_truncation(None).map_err(|e| e.to_string())?;
        inner.with_padding(None);

        let mut flags = Vec::new();
        for (token, id) in inner.get_vocab(true) {
            let index = id as usize;
            if index >= MAX_VOCABULARY {
                return Err(format!(
                    "token {token:?}: expected an id below {MAX_VOCABULARY}, got {id}"
                ));
            }
            if index >= flags.len() {
                flags.resize(index + 1, 0);
            }
            flags[index] |= KNOWN;
        }
        for (id, token) in inner.get_added_vocabulary().get_added_tokens_decoder() {
            if token.special {
                if let Some(flag) = flags.get_mut(*id as usize) {
                    *flag |= SPECIAL;
                }
            }
        }
        Ok(Tokenizer { inner, flags })
    }

    pub fn flags(&self) -> &[u8] {
        &self.flags
    }

    pub fn encode(&self, text: &[u8], add_special: bool) -> Result<Vec<u32>, String> {
        let encoding = self
            .inner
            .encode_fast(utf8(text)?, add_special)
            .map_err(|e| e.to_string())?;
        Ok(encoding.get_ids().to_vec())
    }

    /// Special tokens are dropped by id: the reference's own `skip_special_tokens` compares texts,
    /// and so keeps a special token whose normalized form differs from what the file says.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String, String> {
        let mut kept = Vec::with_capacity(ids.len());
        for (position, &id) in ids.iter().enumerate() {
            let flag = self.flags.get(id as usize).copied().unwrap_or(0);
            if flag & KNOWN == 0 {
                return Err(format!(
                    "id {id} at position {position}: expected one of the {} tokens of this vocabulary",
                    self.flags.len()
                ));
            }
            if !(skip_special && flag & SPECIAL != 0) {
                kept.push(id);
            }
        }
        self.inner.decode(&kept, false).map_err(|e| e.to_string())
    }

    pub fn id_of(&self, token: &[u8]) -> Option<u32> {
        self.inner.token_to_id(std::str::from_utf8(token).ok()?)
    }

    pub fn token_of(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }
}
