//! Three members in one process: `cargo run -p heartsay-tokio --example three`.

use heartsay_membership::{Cluster, Config, Name, Profile};
use heartsay_tokio::{Member, Options};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = Config::new(Cluster::new("demo")?, Profile::Local);
    let listen = |name| {
        Ok::<_, Box<dyn std::error::Error>>(Options {
            bind: "127.0.0.1:0".parse()?,
            ..Options::new(Name::new(name)?)
        })
    };
    let first = Member::spawn(config.clone(), listen("n1")?).await?;
    let seeds = vec![first.address().to_string()];
    let second = Member::spawn(config.clone(), Options { seeds: seeds.clone(), ..listen("n2")? }).await?;
    let third = Member::spawn(config, Options { seeds, ..listen("n3")? }).await?;
    third.view().wait_for(|view| view.alive().count() == 3).await?;
    second.leave().await?;
    first.view().wait_for(|view| view.alive().count() == 2).await?;
    println!("n2 has left: {:?}", first.view().borrow().member("n2").map(|member| member.status));
    Ok(())
}
