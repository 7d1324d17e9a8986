//! HAProxy through its runtime API: which server stands where, without a reload.
//!
//! HAProxy itself knows which servers the backend has and where each leads. So it is asked, told the difference, and asked
//! again. A server that leads to a member stays; of those that lead elsewhere, one takes each member that has none, and the rest
//! are put into maintenance. Which server of the configuration has which member does not matter: write a `server-template`, or
//! let the export keep free slots.
//!
//! Weak spot: there are as many servers as the configuration has. Members beyond that are not reached before HAProxy has
//! read it again.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::format::is_server_name;

/// Brings the servers of `backend` to `members`. How many members found no server.
///
/// # Errors
/// HAProxy does not answer, has no such backend, or does not do as it is told; in words.
pub(crate) async fn bring(socket: &Path, backend: &str, members: &[SocketAddr]) -> Result<usize, String> {
    let plan = plan(&ask(socket, backend).await?, members);
    if plan.steps.is_empty() {
        return Ok(plan.without);
    }
    let steps: Vec<String> = plan.steps.iter().map(|step| step.command(backend)).collect();
    let mut said = String::new();
    for some in steps.chunks(COMMANDS) {
        said += &speak(socket, &some.join(";")).await?;
    }
    let after = self::plan(&ask(socket, backend).await?, members);
    if after.steps.is_empty() {
        return Ok(after.without);
    }
    let said = said.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("nothing");
    Err(format!("HAProxy does not do what it is told; it said {said:?}"))
}

/// A server as HAProxy has it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Server {
    name: String,
    /// `None`: nowhere yet.
    leads: Option<SocketAddr>,
    /// Not in maintenance by our command or by the configuration.
    ready: bool,
}

/// What there is to do.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    /// Who is gone comes first.
    steps: Vec<Step>,
    /// Members for which there is no server.
    without: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Maintain(String),
    Lead(String, SocketAddr),
    Ready(String),
}

impl Step {
    fn command(&self, backend: &str) -> String {
        match self {
            Self::Maintain(server) => format!("set server {backend}/{server} state maint"),
            Self::Lead(server, to) => {
                format!("set server {backend}/{server} addr {} port {}", to.ip(), to.port())
            }
            Self::Ready(server) => format!("set server {backend}/{server} state ready"),
        }
    }
}

fn plan(servers: &[Server], members: &[SocketAddr]) -> Plan {
    // A member that two servers lead to has the first.
    let mut has: BTreeMap<SocketAddr, &Server> = BTreeMap::new();
    for server in servers.iter().rev() {
        if let Some(member) = server.leads.filter(|leads| members.contains(leads)) {
            has.insert(member, server);
        }
    }
    let kept = |server: &&Server| has.values().any(|kept| kept.name == server.name);
    let mut free: Vec<&Server> = servers.iter().filter(|server| !kept(server)).collect();
    let (mut maintain, mut lead, mut ready, mut without) = (Vec::new(), Vec::new(), Vec::new(), 0);
    maintain
        .extend(free.iter().filter(|server| server.ready).map(|server| Step::Maintain(server.name.clone())));
    ready.extend(has.values().filter(|server| !server.ready).map(|server| Step::Ready(server.name.clone())));
    free.reverse();
    for member in members.iter().filter(|member| !has.contains_key(*member)) {
        match free.pop() {
            Some(server) => {
                lead.push(Step::Lead(server.name.clone(), *member));
                ready.push(Step::Ready(server.name.clone()));
            }
            None => without += 1,
        }
    }
    maintain.extend(lead);
    maintain.extend(ready);
    Plan { steps: maintain, without }
}

async fn ask(socket: &Path, backend: &str) -> Result<Vec<Server>, String> {
    let answer = speak(socket, &format!("show servers state {backend}")).await?;
    servers(&answer).ok_or_else(|| match answer.trim() {
        "Can't find backend." => format!("HAProxy has no backend {backend}"),
        other => format!("HAProxy answers {:?}", other.chars().take(100).collect::<String>()),
    })
}

/// Reads the answer to `show servers state`: a version, the names of the columns behind `#`, a line for each server.
fn servers(answer: &str) -> Option<Vec<Server>> {
    let mut lines = answer.lines().map(str::trim).filter(|line| !line.is_empty());
    if lines.next()? != "1" {
        return None;
    }
    let columns: Vec<&str> = lines.next()?.strip_prefix('#')?.split_whitespace().collect();
    let column = |name: &str| columns.iter().position(|column| *column == name);
    let (name, address) = (column("srv_name")?, column("srv_addr")?);
    let (port, admin) = (column("srv_port")?, column("srv_admin_state")?);
    lines
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let word = |column: usize| words.get(column).copied();
            let ip: Option<IpAddr> = word(address)?.parse().ok();
            let port: u16 = word(port)?.parse().ok()?;
            let admin: u32 = word(admin)?.parse().ok()?;
            let name = word(name).filter(|name| is_server_name(name))?.to_owned();
            let leads = ip.map(|ip| SocketAddr::new(ip, port));
            Some(Server { name, leads, ready: admin & FORCED_MAINTENANCE == 0 })
        })
        .collect()
}

/// Says one line, and hears the whole answer.
async fn speak(socket: &Path, line: &str) -> Result<String, String> {
    let talk = async {
        let mut stream = UnixStream::connect(socket).await?;
        stream.write_all(format!("{line}\n").as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(LONGEST).read_to_end(&mut answer).await?;
        io::Result::Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    match tokio::time::timeout(PATIENCE, talk).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(e)) => Err(format!("HAProxy at {}: {e}", socket.display())),
        Err(_) => Err(format!("HAProxy at {} has not answered for {PATIENCE:?}", socket.display())),
    }
}

/// `SRV_ADMF_FMAINT` of `srv_admin_state`.
const FORCED_MAINTENANCE: u32 = 1;
/// HAProxy answers at once; while it reloads, the next process does.
const PATIENCE: Duration = Duration::from_secs(2);
/// Of an answer, in bytes: 16,384 servers.
const LONGEST: u64 = 4 << 20;
/// In one line, which HAProxy bounds by its buffer of 16 kB. Names have 128 bytes at most, and a command has both.
const COMMANDS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_port\n\
                          3 web 1 n1 10.0.0.1 2 0 80\n3 web 2 n2 2001:db8::1 0 1 80\n3 web 3 slot-1 - 0 5 0\n\n";

    fn socket(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn steps(servers: &[Server], members: &[&str]) -> Vec<String> {
        let members: Vec<SocketAddr> = members.iter().map(|member| socket(member)).collect();
        plan(servers, &members).steps.iter().map(|step| step.command("web")).collect()
    }

    #[test]
    fn the_answer_of_haproxy_is_read_by_the_names_of_its_columns() {
        let server = |name: &str, leads: Option<&str>, ready| Server {
            name: name.to_owned(),
            leads: leads.map(socket),
            ready,
        };
        let read = servers(ANSWER).unwrap();
        let expected = [
            server("n1", Some("10.0.0.1:80"), true),
            server("n2", Some("[2001:db8::1]:80"), false),
            server("slot-1", None, false),
        ];
        assert_eq!(read, expected);
        for wrong in ["", "Can't find backend.", "2\n# a b\n", "1\n# srv_name\n1 x", "1\n"] {
            assert_eq!(servers(wrong), None, "{wrong:?}");
        }
        assert_eq!(servers(&ANSWER.replace("n1", "n1;evil")), None);
    }

    #[test]
    fn who_is_gone_is_put_into_maintenance_before_anyone_comes() {
        let servers = servers(ANSWER).unwrap();
        assert_eq!(steps(&servers, &["10.0.0.1:80"]), [""; 0], "nothing to do");
        assert_eq!(
            steps(&servers, &["10.0.0.9:81"]),
            [
                "set server web/n1 state maint",
                "set server web/n1 addr 10.0.0.9 port 81",
                "set server web/n1 state ready"
            ]
        );
        assert_eq!(
            steps(&servers, &["10.0.0.1:80", "[2001:db8::1]:80", "[2001:db8::2]:80"]),
            [
                "set server web/slot-1 addr 2001:db8::2 port 80",
                "set server web/n2 state ready",
                "set server web/slot-1 state ready"
            ]
        );
        assert_eq!(steps(&servers, &[]), ["set server web/n1 state maint"]);
    }

    #[test]
    fn members_beyond_the_servers_are_counted() {
        let servers = servers(ANSWER).unwrap();
        let members: Vec<SocketAddr> = (1..=5).map(|n| SocketAddr::from(([10, 0, 0, n], 80))).collect();
        assert_eq!(plan(&servers, &members).without, 2);
    }

    #[test]
    fn two_servers_that_lead_to_one_member_become_one() {
        let twice = [("a", true), ("b", true)].map(|(name, ready)| Server {
            name: name.to_owned(),
            leads: Some(socket("10.0.0.1:80")),
            ready,
        });
        assert_eq!(steps(&twice, &["10.0.0.1:80"]), ["set server web/b state maint"]);
    }
}
