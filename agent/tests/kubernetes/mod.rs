//! A stand-in of the API server of Kubernetes: TLS, and what the real one checks of each request.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests, outside of any test function"
)]

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

/// The taint, as this program puts it there.
pub const KEY: &str = "heartsay.io/down";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/heartsay/leases";

/// The server; it ends with the test.
pub struct Server {
    pub url: String,
    cluster: Arc<Mutex<Cluster>>,
}

/// What is there, and what comes.
pub struct Cluster {
    pub token: String,
    pub lease: Option<Value>,
    nodes: BTreeMap<String, Value>,
    version: u64,
    /// Before the next requests of this method.
    faults: VecDeque<(&'static str, Fault)>,
    /// `METHOD path status`.
    log: Vec<String>,
}

/// What happens to one request.
pub enum Fault {
    /// This answer, and this header line.
    Answer(u16, &'static str),
    /// Another one writes to this node first.
    Written(&'static str, Value),
    /// No answer.
    Hang,
}

/// One with these nodes.
pub fn server(nodes: &[&str]) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let mut cluster = Cluster {
        token: "first".to_owned(),
        lease: None,
        nodes: BTreeMap::new(),
        version: 100,
        faults: VecDeque::new(),
        log: Vec::new(),
    };
    for name in nodes {
        cluster.put(name, &json!([]));
    }
    let cluster = Arc::new(Mutex::new(cluster));
    let (shared, config) = (cluster.clone(), Arc::new(config()));
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let (cluster, config) = (shared.clone(), config.clone());
            thread::spawn(move || serve(stream, config, &cluster));
        }
    });
    Server { url, cluster }
}

/// A file for the tests alone: no other program trusts it.
pub fn tls(file: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests/kubernetes/tls", file].iter().collect()
}

fn config() -> ServerConfig {
    let chain = vec![CertificateDer::from_pem_file(tls("server.crt")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(tls("server.key")).unwrap();
    ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap()
}

impl Server {
    pub fn state(&self) -> MutexGuard<'_, Cluster> {
        self.cluster.lock().unwrap()
    }

    pub fn fault(&self, method: &'static str, fault: Fault) {
        self.state().faults.push_back((method, fault));
    }

    /// Sets the taints of a node.
    pub fn put(&self, name: &str, taints: &Value) {
        self.state().put(name, taints);
    }

    /// Nodes that have the taint.
    pub fn tainted(&self) -> Vec<String> {
        let is_ours =
            |taint: &Value| taint["key"] == KEY && taint["effect"] == "NoExecute" && taint["value"].is_null();
        let state = self.state();
        let ours = state.nodes.iter().filter(|(_, node)| taints(node).iter().any(is_ours));
        ours.map(|(name, _)| name.clone()).collect()
    }

    /// Taints of a node but ours.
    pub fn others(&self, name: &str) -> Value {
        let is_other = |taint: &&Value| taint["key"] != KEY || !taint["value"].is_null();
        taints(&self.state().nodes[name]).iter().filter(is_other).cloned().collect()
    }

    /// Requests that began like this, with their status.
    pub fn asked(&self, start: &str) -> Vec<String> {
        self.state().log.iter().filter(|line| line.starts_with(start)).cloned().collect()
    }

    /// Changes of nodes that were made.
    pub fn changes(&self) -> usize {
        self.asked("PATCH /api/v1/nodes/").iter().filter(|line| line.ends_with(" 200")).count()
    }
}

fn taints(node: &Value) -> Vec<Value> {
    node["spec"]["taints"].as_array().cloned().unwrap_or_default()
}

impl Cluster {
    fn put(&mut self, name: &str, taints: &Value) {
        let version = self.next_version();
        let meta =
            json!({ "name": name, "resourceVersion": version, "labels": { "kubernetes.io/os": "linux" } });
        let node = json!({
            "metadata": meta, "spec": { "podCIDR": "10.1.0.0/24", "taints": taints }, "status": { "images": [] },
        });
        self.nodes.insert(name.to_owned(), node);
    }

    fn next_version(&mut self) -> String {
        self.version += 1;
        self.version.to_string()
    }

    /// Status and body.
    fn answer(&mut self, request: &Request) -> (u16, Value) {
        let header = |name: &str| request.headers.get(name).map(String::as_str).unwrap_or_default();
        if header("authorization") != format!("Bearer {}", self.token) {
            return refused(401, "Unauthorized");
        }
        if header("accept") != "application/json" || header("host").is_empty() {
            return refused(406, "only JSON, and with a host");
        }
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        let method = request.method.as_str();
        let kind = header("content-type");
        let wanted = match method {
            "POST" => "application/json",
            "PATCH" => "application/merge-patch+json",
            _ => "",
        };
        if kind != wanted {
            return refused(415, "the body of the request was in an unknown format");
        }
        if let Some(name) = path.strip_prefix("/api/v1/nodes/") {
            return match (method, self.nodes.get(name).cloned()) {
                ("GET" | "PATCH", None) => refused(404, &format!("nodes {name:?} not found")),
                ("GET", Some(node)) => (200, node),
                ("PATCH", Some(node)) => self.patched(node, &request.body, |cluster, node| {
                    let mut seen = Vec::new();
                    for taint in taints(node) {
                        let id = (taint["key"].clone(), taint["effect"].clone());
                        if !id.0.is_string() || !id.1.is_string() || seen.contains(&id) {
                            return Err("taints must be unique by key and effect pair");
                        }
                        seen.push(id);
                    }
                    cluster.nodes.insert(name.to_owned(), node.clone());
                    Ok(())
                }),
                _ => refused(403, "nodes is forbidden"),
            };
        }
        match (method, path) {
            ("GET", "/api/v1/nodes") => self.page(query),
            ("POST", LEASES) if self.lease.is_some() => {
                refused(409, "leases \"heartsay-taint\" already exists")
            }
            ("POST", LEASES) => {
                let mut lease = request.body.clone();
                if lease["kind"] != "Lease" || lease["apiVersion"] != "coordination.k8s.io/v1" {
                    return refused(400, "the object provided is unrecognized");
                }
                if lease["metadata"]["name"] != "heartsay-taint"
                    || lease["metadata"]["namespace"] != "heartsay"
                {
                    return refused(400, "the name or the namespace does not match the URL");
                }
                lease["metadata"]["resourceVersion"] = self.next_version().into();
                self.keep_lease(&lease)
            }
            ("GET" | "PATCH", _) if path == format!("{LEASES}/heartsay-taint") => match self.lease.clone() {
                None => refused(404, "leases \"heartsay-taint\" not found"),
                Some(lease) if method == "GET" => (200, lease),
                Some(lease) => self.patched(lease, &request.body, |cluster, lease| {
                    if cluster.keep_lease(lease).0 == 201 { Ok(()) } else { Err("the lease is invalid") }
                }),
            },
            _ => refused(403, "there is no right to do this"),
        }
    }

    fn keep_lease(&mut self, lease: &Value) -> (u16, Value) {
        let spec = &lease["spec"];
        // Of the form 2006-01-02T15:04:05.000000Z.
        let is_time =
            |time: &Value| time.as_str().is_some_and(|time| time.len() == 27 && time.ends_with('Z'));
        let good = spec["holderIdentity"].is_string()
            && spec["leaseDurationSeconds"].as_u64().is_some_and(|length| length > 0)
            && spec["leaseTransitions"].is_u64()
            && is_time(&spec["renewTime"])
            && is_time(&spec["acquireTime"]);
        if !good {
            return refused(422, "the lease is invalid");
        }
        self.lease = Some(lease.clone());
        (201, lease.clone())
    }

    /// A merge patch, refused if it was made for another version.
    fn patched(
        &mut self,
        mut object: Value,
        change: &Value,
        keep: impl Fn(&mut Self, &Value) -> Result<(), &'static str>,
    ) -> (u16, Value) {
        let version = &change["metadata"]["resourceVersion"];
        if !version.is_null() && *version != object["metadata"]["resourceVersion"] {
            return refused(
                409,
                "the object has been modified; please apply your changes to the latest version",
            );
        }
        merge(&mut object, change);
        object["metadata"]["resourceVersion"] = self.next_version().into();
        match keep(self, &object) {
            Ok(()) => (200, object),
            Err(why) => refused(422, why),
        }
    }

    /// At most two to a page, so that there are several.
    fn page(&self, query: &str) -> (u16, Value) {
        let of = |key: &str| query.split('&').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='));
        let from = of("continue").unwrap_or_default();
        let limit = of("limit").and_then(|limit| limit.parse().ok()).unwrap_or(usize::MAX).min(2);
        let rest: Vec<_> = self.nodes.iter().filter(|(name, _)| name.as_str() > from).collect();
        let page: Vec<_> = rest.iter().take(limit).map(|(_, node)| (*node).clone()).collect();
        let last = rest.get(limit - 1).filter(|_| rest.len() > limit).map(|(name, _)| name.as_str());
        (200, json!({ "kind": "NodeList", "metadata": { "continue": last.unwrap_or("") }, "items": page }))
    }
}

/// RFC 7386.
fn merge(object: &mut Value, change: &Value) {
    let Some(change) = change.as_object() else {
        *object = change.clone();
        return;
    };
    if !object.is_object() {
        *object = json!({});
    }
    for (key, value) in change {
        if value.is_null() {
            object.as_object_mut().unwrap().remove(key);
        } else {
            merge(&mut object[key], value);
        }
    }
}

fn refused(status: u16, message: &str) -> (u16, Value) {
    (
        status,
        json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": status }),
    )
}

struct Request {
    method: String,
    path: String,
    headers: BTreeMap<String, String>,
    body: Value,
}

/// One request; `None` if the other side does not come to one.
fn serve(stream: TcpStream, config: Arc<ServerConfig>, cluster: &Mutex<Cluster>) -> Option<()> {
    let mut stream = BufReader::new(StreamOwned::new(ServerConnection::new(config).unwrap(), stream));
    let request = read(&mut stream)?;
    let (status, header, body) = {
        let mut cluster = cluster.lock().unwrap();
        let fault = cluster.faults.iter().position(|(method, _)| *method == request.method);
        let fault = fault.and_then(|at| cluster.faults.remove(at)).map(|(_, fault)| fault);
        let (status, header, body) = match fault {
            Some(Fault::Answer(status, header)) => {
                let (status, body) = refused(status, "as the test wants it");
                (status, header, body)
            }
            Some(Fault::Hang) => {
                drop(cluster);
                thread::sleep(Duration::from_secs(20));
                return None;
            }
            Some(Fault::Written(node, taints)) => {
                cluster.put(node, &taints);
                let (status, body) = cluster.answer(&request);
                (status, "", body)
            }
            None => {
                let (status, body) = cluster.answer(&request);
                (status, "", body)
            }
        };
        cluster.log.push(format!("{} {} {status}", request.method, request.path));
        (status, header, body.to_string())
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n{header}\r\n"
    );
    stream.get_mut().write_all((head + &body).as_bytes()).ok()?;
    stream.get_mut().flush().ok()
}

fn read(stream: &mut BufReader<StreamOwned<ServerConnection, TcpStream>>) -> Option<Request> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let (first, rest) = lines.split_first()?;
    let mut words = first.split(' ').map(str::to_owned);
    let headers: BTreeMap<_, _> = rest
        .iter()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    let body = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() };
    Some(Request { method: words.next()?, path: words.next()?, headers, body })
}
