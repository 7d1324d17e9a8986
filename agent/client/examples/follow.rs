//! The members with `role=web`, and then each member that is called down: `cargo run -p heartsay-client --example follow`.

use heartsay_client::{Client, ClientError, Filter};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), ClientError> {
    let client = Client::new(None);
    for member in client.members(&Filter::new().tag("role=web").status("alive")).await?.members {
        println!("{} at {}", member.name, member.address);
    }
    let mut follow = client.follow(Filter::new().kind("member-down"));
    loop {
        let line = follow.line().await?;
        if line.kind == "member-down" {
            println!("{} is down: {}", line.name.unwrap_or_default(), line.reason.unwrap_or_default());
        }
    }
}
