//! What a platform thinks of an address from which it is told to fetch a file.

use std::path::Path;

use url::{Host, Url};

/// Whether nobody outside can reach it.
pub(crate) fn is_private(address: &str) -> bool {
    let Ok(url) = Url::parse(address) else { return true };
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback() || ip.is_private() || ip.is_link_local() || ip.is_unspecified(),
        Some(Host::Ipv6(ip)) => {
            ip.is_loopback() || ip.is_unspecified() || ip.is_unique_local() || ip.is_unicast_link_local()
        }
        Some(Host::Domain(name)) => {
            let top = name.rsplit('.').next().unwrap_or_default();
            top == name || matches!(top, "local" | "internal" | "localhost")
        }
        None => true,
    }
}

/// Whether TikTok pulls from it: https, and a name whose owner can be verified.
pub(crate) fn is_pullable(address: &str) -> bool {
    let is_named = |url: &Url| url.scheme() == "https" && url.domain().is_some();
    Url::parse(address).is_ok_and(|url| is_named(&url)) && !is_private(address)
}

/// Whether the file is a PNG by its name.
pub(crate) fn is_png(address: &str) -> bool {
    let has_ending = |url: Url| Path::new(url.path()).extension().is_some_and(|end| end.eq_ignore_ascii_case("png"));
    Url::parse(address).is_ok_and(has_ending)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_apart() {
        for (address, private, pullable) in [
            ("https://cdn.example/a.jpg", false, true),
            ("http://cdn.example/a.jpg", false, false),
            ("https://203.0.113.7/a.jpg", false, false),
            ("https://10.0.0.7/a.jpg", true, false),
            ("http://127.0.0.1:9/a.jpg", true, false),
            ("https://[::1]/a.jpg", true, false),
            ("https://media/a.jpg", true, false),
            ("https://nas.local/a.jpg", true, false),
            ("nonsense", true, false),
        ] {
            assert_eq!((is_private(address), is_pullable(address)), (private, pullable), "{address}");
        }
        assert!(is_png("https://cdn.example/a.PNG?x=1") && !is_png("https://cdn.example/a.jpg"));
    }
}
