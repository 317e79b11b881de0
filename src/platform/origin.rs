//! Where requests to a platform go, and which upload addresses are accepted as its own.

use url::Url;

use crate::environment::Reader;
use crate::post::{Category, Failure, Platform};

/// A platform's address, and whether a setting has put another one in the place of its own.
#[derive(Debug, Clone)]
pub struct Origin {
    url: Url,
    is_set: bool,
}

impl Origin {
    /// The platform's own address.
    pub fn of_platform(url: Url) -> Self {
        Self { url, is_set: false }
    }

    /// An address that a setting has put in its place.
    pub fn of_setting(url: Url) -> Self {
        Self { url, is_set: true }
    }

    /// The address in a variable: scheme, host and port without a path. A platform's own address is its own even if it
    /// is set, as it is for everyone who copies `.env.example`.
    pub(super) fn read(read: &mut Reader<'_>, name: &'static str) -> Self {
        let url = read.endpoint(name);
        if url.path() != "/" || url.query().is_some() {
            read.refuse(name, "an origin such as `https://host:port`, without a path");
        }
        let is_own = Url::parse(read.default_of(name)).is_ok_and(|own| own == url);
        if is_own { Self::of_platform(url) } else { Self::of_setting(url) }
    }

    /// A path at this origin, with its query if it has one.
    pub(super) fn at(&self, path: &str) -> Url {
        let mut url = self.url.clone();
        let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
        url.set_path(path);
        url.set_query(query);
        url
    }

    /// The upload address that a platform has handed out, if it may be trusted: at the very origin where a setting
    /// gives one, else https on the default port of the platform's own domain.
    ///
    /// # Errors
    /// A failure of category `unknown`; nothing must be sent there.
    pub(super) fn trusted(&self, address: &str, domain: &str, platform: Platform) -> Result<Url, Failure> {
        let distrusted = || {
            Failure::new(
                Category::Unknown,
                format!("{} returned an untrusted upload address; nothing was sent there", platform.title()),
            )
        };
        let url = Url::parse(address).map_err(|_| distrusted())?;
        let is_own = if self.is_set {
            url.origin() == self.url.origin()
        } else {
            let host = url.host_str().unwrap_or_default();
            let is_in_domain = host == domain || host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
            url.scheme() == "https" && url.port().is_none() && is_in_domain
        };
        if is_own && url.username().is_empty() && url.password().is_none() { Ok(url) } else { Err(distrusted()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_address_must_be_the_platforms_own() {
        let own = Origin::of_platform(Url::parse("https://open.tiktokapis.com").unwrap());
        let trusted = |address| own.trusted(address, "tiktokapis.com", Platform::TikTok).is_ok();
        assert!(trusted("https://open-upload-i18n.tiktokapis.com/video/?id=1"));
        assert!(!trusted("http://open-upload.tiktokapis.com/"));
        assert!(!trusted("https://open-upload.tiktokapis.com:8443/"));
        assert!(!trusted("https://tiktokapis.com.evil.example/"));
        assert!(!trusted("https://eviltiktokapis.com/"));
        assert!(!trusted("https://user@open-upload.tiktokapis.com/"));
        let sandbox = Origin::of_setting(Url::parse("http://127.0.0.1:4000").unwrap());
        let trusted = |address| sandbox.trusted(address, "tiktokapis.com", Platform::TikTok).is_ok();
        assert!(trusted("http://127.0.0.1:4000/upload?x=1"));
        assert!(!trusted("http://127.0.0.1:4001/upload"));
        assert!(!trusted("https://open-upload.tiktokapis.com/"));
    }
}
