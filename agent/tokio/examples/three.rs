//! Three members in one process, and one that leaves: `cargo run -p heartsay-tokio --example three`.

use std::error::Error;
use std::process::ExitCode;

use heartsay_tokio::membership::{Cluster, Config, Event, MemberEventKind, Name, Profile};
use heartsay_tokio::{Member, Options};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Err(error) = run().await else { return ExitCode::SUCCESS };
    eprintln!("{error}");
    ExitCode::FAILURE
}

async fn run() -> Result<(), Box<dyn Error>> {
    let config = Config::new(Cluster::new("demo")?, Profile::Local);
    let n1 = Options { bind: "127.0.0.1:0".parse()?, ..Options::new(Name::new("n1")?) };
    let first = Member::spawn(config.clone(), n1.clone()).await?;
    let mut events = first.events();
    let others = Options { seeds: vec![first.address().to_string()], ..n1 };
    let n2 = Options { name: Name::new("n2")?, ..others.clone() };
    let second = Member::spawn(config.clone(), n2).await?;
    let n3 = Options { name: Name::new("n3")?, ..others };
    let third = Member::spawn(config, n3).await?;
    third.view().wait_for(|view| view.alive().count() == 3).await?;
    second.leave().await?;
    loop {
        let event = events.recv().await?;
        println!("{event:?}");
        if matches!(event, Event::Member(event) if event.kind == MemberEventKind::Left) {
            return Ok(());
        }
    }
}
