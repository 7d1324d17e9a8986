//! One table of several of its kind, `[[export]]`: its fields, each with all that is wrong in it.

use std::fmt;

use super::layers::{Block, Given, Raw};
use super::reader::Reader;
use super::{Origin, SettingsError, values};

impl Reader {
    /// The tables of this kind, of all files.
    pub(super) fn blocks(&self, kind: &str) -> Vec<Block> {
        match self.layers.0.get(kind) {
            Some(Given { raw: Raw::Blocks(blocks), .. }) => blocks.clone(),
            _ => Vec::new(),
        }
    }

    /// Notes where there are more than `most`.
    pub(super) fn no_more(&mut self, kind: &str, blocks: &[Block], most: usize) {
        if let Some(block) = blocks.get(most) {
            let problem = format!("{} are too many; {most} are understood", blocks.len());
            self.errors.push(SettingsError::usage(kind, block.origin.clone(), problem, "leave some out"));
        }
    }
}

/// Reads the fields of one table.
pub(super) struct Fields<'a> {
    kind: &'static str,
    pub(super) block: &'a Block,
    pub(super) errors: Vec<SettingsError>,
}

impl<'a> Fields<'a> {
    /// Of nothing read so far.
    pub(super) fn new(kind: &'static str, block: &'a Block) -> Self {
        Self { kind, block, errors: Vec::new() }
    }

    /// Notes fields that are none of `known`, nor of the table `open` in it, whose keys are free; nor tables, of which there
    /// may be several, that are none of `tables`.
    pub(super) fn only(&mut self, known: &[&str], open: &str, tables: &[&str]) {
        let block = self.block;
        let fields = block.fields.iter().map(|(key, (_, origin))| (key, origin, known));
        let several = block.tables.iter().map(|(key, (_, origin))| (key, origin, tables));
        for (key, origin, fine) in fields.chain(several) {
            if fine.contains(&key.as_str()) || (!open.is_empty() && key.starts_with(open)) {
                continue;
            }
            if let Some(table) = tables.iter().find(|table| key.split('.').next() == Some(**table)) {
                let remedy = format!("write [[{}.{table}]] above each", self.kind);
                self.error(table, origin.clone(), "is no list of tables".to_owned(), &remedy);
                continue;
            }
            if known.contains(&key.as_str()) {
                self.error(key, origin.clone(), "cannot be tables".to_owned(), "write texts or numbers");
                continue;
            }
            let remedy = match values::nearest(key, known) {
                Some(meant) => format!("did you mean {meant:?}?"),
                None => format!("there are {}", known.join(", ")),
            };
            self.error(key, origin.clone(), "unknown setting".to_owned(), &remedy);
        }
    }

    /// The tables of this kind in it.
    pub(super) fn tables(&self, kind: &str) -> &'a [Block] {
        self.block.tables.get(kind).map_or(&[], |(blocks, _)| blocks)
    }

    /// Whether it is written.
    pub(super) fn has(&self, key: &str) -> bool {
        self.block.fields.contains_key(key)
    }

    /// A field of one value.
    pub(super) fn one<T, E: fmt::Display>(
        &mut self,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let (texts, origin) = self.block.fields.get(key)?;
        let [text] = texts.as_slice() else {
            self.error(key, origin.clone(), "is a list".to_owned(), "write one text or number");
            return None;
        };
        parse(text).map_err(|e| self.error(key, origin.clone(), format!("{text:?}: {e}"), "correct it")).ok()
    }

    /// A field of several.
    pub(super) fn many<T, E: fmt::Display>(
        &mut self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Vec<T> {
        let Some((texts, origin)) = self.block.fields.get(key) else { return Vec::new() };
        let mut all = Vec::new();
        for text in texts.iter().take(MOST) {
            match parse(text) {
                Ok(one) => all.push(one),
                Err(e) => self.error(key, origin.clone(), format!("{text:?}: {e}"), "correct it"),
            }
        }
        if texts.len() > MOST {
            self.error(key, origin.clone(), format!("has more than {MOST} texts"), "leave some out");
        }
        all
    }

    /// Notes what is wrong at the line of `key`, or where the table begins.
    pub(super) fn refuse(&mut self, key: &str, problem: &str, remedy: &str) {
        let origin = self.block.fields.get(key).map_or(&self.block.origin, |(_, origin)| origin).clone();
        self.error(key, origin, problem.to_owned(), remedy);
    }

    /// Notes what is wrong.
    pub(super) fn error(&mut self, key: &str, origin: Origin, problem: String, remedy: &str) {
        self.errors.push(SettingsError::usage(&format!("{}.{key}", self.kind), origin, problem, remedy));
    }
}

/// Values of one field.
const MOST: usize = 32;
