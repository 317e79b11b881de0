//! Where requests to a platform go, and which upload addresses are accepted as its own.

use url::Url;

use super::explanation::labelled;
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

    /// A fixed path at this origin, with its query if it has one. One with an id in it is made by
    /// [`Origin::at_segments`].
    pub(super) fn at(&self, path: &'static str) -> Url {
        let mut url = self.url.clone();
        let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
        url.set_path(path);
        url.set_query(query);
        url
    }

    /// The path of these segments at this origin. Each is encoded, so that an id can neither add a query nor lead to
    /// another endpoint. A segment of one or two dots is left out, and no id has that form.
    pub(super) fn at_segments(&self, segments: &[&str]) -> Url {
        let mut url = self.url.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.clear().extend(segments);
        }
        url.set_query(None);
        url
    }

    /// The upload address that a platform has handed out, if it may be trusted: at the very origin where a setting
    /// gives one, else https on the default port of the platform's own domain.
    ///
    /// # Errors
    /// A failure of category `unknown`; nothing must be sent there.
    pub(super) fn trusted(&self, address: &str, domain: &str, platform: Platform) -> Result<Url, Failure> {
        let distrusted = || {
            let text = labelled(platform, "the upload address is not trusted; nothing was sent there");
            Failure::new(Category::Unknown, text)
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
    fn a_segment_stays_one_segment_whatever_is_in_it() {
        let origin = Origin::of_platform(Url::parse("https://graph.facebook.com").unwrap());
        let url = |id| origin.at_segments(&["v25.0", id]).to_string();
        assert_eq!(url("17895"), "https://graph.facebook.com/v25.0/17895");
        assert_eq!(
            url("1/comments?message=hi&method=post#x"),
            "https://graph.facebook.com/v25.0/1%2Fcomments%3Fmessage=hi&method=post%23x"
        );
        assert_eq!(url("1%2Fcomments"), "https://graph.facebook.com/v25.0/1%252Fcomments");
        assert_eq!(url(".."), "https://graph.facebook.com/v25.0");
        assert_eq!(origin.at("/v2/list/?fields=id").as_str(), "https://graph.facebook.com/v2/list/?fields=id");
    }

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
