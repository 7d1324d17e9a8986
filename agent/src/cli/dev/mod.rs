use crate::cli::{exit::Exit, output::Output};
use clap::Args;
#[derive(Args)]
pub(super) struct Dev {}
impl Dev {
    pub(super) async fn run(self, _o: &Output) -> anyhow::Result<Exit> {
        Ok(Exit::Failed)
    }
}
