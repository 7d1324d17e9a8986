//! `last-words`: says those of an agent that has ended.

use std::fs::{self, File};
use std::io::ErrorKind;

use anyhow::{Context as _, bail};
use serde_json::json;

use super::exit::Exit;
use super::output::Output;
use crate::api::socket::is_held;
use crate::client::{Address, Client};
use crate::last_words::guardian;
use crate::last_words::will::{Testament, Will};

/// Says them, once.
pub(super) fn run(client: &Client, output: &Output) -> anyhow::Result<Exit> {
    let Address::Socket(socket) = client.address() else {
        bail!("this is said by a host itself: give --socket PATH")
    };
    if is_held(socket) {
        bail!("the agent of {} runs: nothing was said", socket.display());
    }
    let path = Will::path(socket);
    let told = match File::open(&path) {
        Ok(file) => Testament::read(&file).map_or(0, |testament| guardian::speak(&testament)),
        // Said good-bye, or there never was one.
        Err(error) if error.kind() == ErrorKind::NotFound => 0,
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let _ = fs::remove_file(&path);
    let answer = json!({ "told": told });
    output.show(&answer, |_: serde_json::Value| format!("told {told} members"))?;
    Ok(Exit::Done)
}
