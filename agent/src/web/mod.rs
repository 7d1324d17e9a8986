//! The page for browsers: one file without anything from elsewhere, made of `agent/web` at build time.
//!
//! It holds nothing of the cluster: a browser that may not ask the API has a page without an answer. Until it is asked for,
//! it is a part of the program's file that nothing touches.

use std::io::Read as _;

use axum::body::{Body, Bytes};
use axum::http::header::{self, HeaderMap, HeaderName};
use axum::response::{IntoResponse, Response};
use flate2::read::GzDecoder;

/// The answer to `GET /`, as the client takes it.
pub(crate) fn page(headers: &HeaderMap) -> Response {
    let kind = [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::VARY, "accept-encoding")];
    if takes_gzip(headers) {
        let encoding = [(header::CONTENT_ENCODING, "gzip")];
        return (kind, PROTECTION, encoding, Body::from(Bytes::from_static(COMPRESSED))).into_response();
    }
    let mut text = Vec::new();
    // The build has written it.
    let _ = GzDecoder::new(COMPRESSED).read_to_end(&mut text);
    (kind, PROTECTION, Body::from(text)).into_response()
}

/// Whether the client says that it takes gzip, and not that it takes none (`gzip;q=0`).
fn takes_gzip(headers: &HeaderMap) -> bool {
    let all = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    all.flat_map(|value| value.split(',')).any(|one| {
        let (coding, weight) = one.split_once(';').unwrap_or((one, ""));
        let weight = weight.trim().strip_prefix("q=").and_then(|q| q.parse::<f32>().ok());
        coding.trim().eq_ignore_ascii_case("gzip") && weight.is_none_or(|weight| weight > 0.0)
    })
}

const COMPRESSED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/page.html.gz"));

/// It runs its own script, asks its own origin, and is shown in no frame. It is not kept, so that it is always of the version
/// of what it asks.
const PROTECTION: [(HeaderName, &str); 7] = [
    (header::CONTENT_SECURITY_POLICY, include_str!(concat!(env!("OUT_DIR"), "/page.csp"))),
    (header::CACHE_CONTROL, "no-store"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::whose_fault;
    use crate::doctor::Code;

    fn text() -> String {
        let mut text = String::new();
        GzDecoder::new(COMPRESSED).read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn the_page_is_small() {
        assert!(COMPRESSED.len() <= 60_000, "{} bytes", COMPRESSED.len());
    }

    #[test]
    fn the_page_names_no_other_place_and_makes_no_markup_of_text() {
        let text = text();
        for wrong in [
            "http://",
            "https://",
            "//cdn",
            "@import",
            "url(",
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "new Function",
            "srcdoc",
            " on",
            "javascript:",
        ] {
            let found = text.find(wrong).map(|at| text.get(at..at + 60));
            let is_known =
                |said: &str| wrong == " on" && !said.contains('=') || said.contains("w3.org/2000/svg");
            assert!(found.flatten().is_none_or(is_known), "{wrong}: {found:?}");
        }
    }

    #[test]
    fn only_who_takes_gzip_gets_gzip() {
        let takes = |value: &'static str| {
            takes_gzip(&HeaderMap::from_iter([(header::ACCEPT_ENCODING, value.parse().unwrap())]))
        };
        assert!(takes("gzip") && takes("br, GZIP;q=0.5") && !takes("gzip;q=0") && !takes("br"));
        assert!(!takes_gzip(&HeaderMap::new()));
    }

    #[test]
    fn whose_fault_a_code_is_the_page_says_as_top_does() {
        let text = text();
        let table = text.split_once("const WHOSE = {").unwrap().1.split_once("};").unwrap().0;
        for code in Code::ALL {
            let side = whose_fault(code.kind().word);
            // What it does not know it holds for that of all.
            let told = table.lines().find(|line| line.contains(&format!(" {} ", code.kind().word)));
            let told = told.map_or("ALL", |line| line.split_once(':').unwrap().0.trim());
            assert_eq!(told, side, "{code}");
        }
    }
}
