//! The committed `src/gossip.rs` and `src/service.rs` are what `schema/*.proto` generates.
//!
//! There is no build script: users of the crate compile plain Rust, and a change of
//! the wire shows in the diff. After editing the schema, rewrite the files with
//! `HEARTSAY_UPDATE=1 cargo test -p heartsay-proto --test schema`.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::Path;

#[test]
fn generated_code_matches_the_schema() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (name, package) in [("gossip", "heartsay.v1"), ("service", "heartsay.service.v1")] {
        let committed = root.join(format!("src/{name}.rs"));
        let fresh = generate(&root.join("schema"), &format!("{name}.proto"), package);
        if std::env::var_os("HEARTSAY_UPDATE").is_some() {
            std::fs::write(&committed, fresh).unwrap();
            continue;
        }
        let kept = std::fs::read_to_string(&committed).unwrap();
        assert!(
            kept == fresh,
            "src/{name}.rs is stale: HEARTSAY_UPDATE=1 cargo test -p heartsay-proto --test schema"
        );
    }
}

fn generate(schema: &Path, file: &str, package: &str) -> String {
    let set = protox::compile([file], [schema]).unwrap();
    let module = prost_build::Module::from_protobuf_package_name(package);
    let requests = set.file.into_iter().map(|file| (module.clone(), file)).collect();
    let mut generated = prost_build::Config::new().bytes(["."]).btree_map(["."]).generate(requests).unwrap();
    generated.remove(&module).unwrap()
}
