//! Makes one file of the page in `web/`, compressed, with a policy that lets it run this one script and nothing else.

use std::error::Error;
use std::io::Write as _;
use std::path::Path;
use std::{env, fs};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest as _, Sha256};

/// In the order in which they need one another.
const SCRIPTS: [&str; 12] = [
    "words.js",
    "element.js",
    "trouble.js",
    "fault.js",
    "past.js",
    "feed.js",
    "members.js",
    "picture.js",
    "paths.js",
    "why.js",
    "page.js",
    "start.js",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=web");
    let web = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("web");
    let out = env::var("OUT_DIR")?;
    let read = |name: &str| fs::read_to_string(web.join(name)).map_err(|e| format!("web/{name}: {e}"));
    let style = format!("\n{}", read("page.css")?);
    let mut script = String::from("\n'use strict';\n");
    for name in SCRIPTS {
        script += &read(name)?;
    }
    let page = read("page.html")?;
    let (head, rest) = page.split_once("<!-- style -->").ok_or("web/page.html has no place for the style")?;
    let (body, tail) =
        rest.split_once("<!-- script -->").ok_or("web/page.html has no place for the script")?;
    let page = format!("{head}<style>{style}</style>{body}<script>{script}</script>{tail}");
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(page.as_bytes())?;
    fs::write(Path::new(&out).join("page.html.gz"), gzip.finish()?)?;
    fs::write(Path::new(&out).join("page.csp"), policy(&style, &script))?;
    Ok(())
}

fn policy(style: &str, script: &str) -> String {
    let hash = |text: &str| format!("'sha256-{}'", BASE64_STANDARD.encode(Sha256::digest(text)));
    format!(
        "default-src 'none'; script-src {}; style-src {}; connect-src 'self'; img-src data:; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
        hash(script),
        hash(style)
    )
}
