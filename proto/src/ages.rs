//! Heartbeats of a page in a few bits each (coder and decoder).
use crate::error::DecodeError;
/// placeholder
pub fn encode(_ages: &[Option<i64>], _out: &mut Vec<u8>) {}
/// placeholder
pub fn decode(_bytes: &[u8], _count: usize, _out: &mut Vec<Option<i64>>) -> Result<(), DecodeError> { Ok(()) }
