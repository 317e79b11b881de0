//! The connection string, and the options that postretry always sets itself.

use std::fmt;
use std::time::Duration;

use mongodb::Client;
use mongodb::bson::{Document, doc};
use mongodb::options::{
    Acknowledgment, ClientOptions, CollectionOptions, ConnectionString, ReadConcern, ReadPreference, SelectionCriteria,
    WriteConcern,
};
use secrecy::{ExposeSecret, SecretString};

/// How long to wait for a server if the connection string does not say.
const SELECTION_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a write may wait for its majority before it is an error.
const MAJORITY_TIMEOUT: Duration = Duration::from_secs(30);

/// What every write waits for: a failover must not undo an outcome.
fn majority() -> WriteConcern {
    WriteConcern::builder().w(Acknowledgment::Majority).w_timeout(MAJORITY_TIMEOUT).journal(true).build()
}

/// The same for a command that the driver does not know.
pub(super) fn majority_document() -> Document {
    let timeout = i64::try_from(MAJORITY_TIMEOUT.as_millis()).unwrap_or(i64::MAX);
    doc! { "w": "majority", "j": true, "wtimeout": timeout }
}

/// How far the record of a run that found nothing to do is confirmed: by the primary alone. A failover may undo it.
pub(super) fn primary_alone() -> WriteConcern {
    WriteConcern::builder().w(Acknowledgment::Nodes(1)).build()
}

/// How the records of runs are read: also those that no majority has confirmed yet.
pub(super) fn of_runs() -> CollectionOptions {
    CollectionOptions::builder().read_concern(ReadConcern::local()).build()
}

/// Where the posts are in MongoDB.
#[derive(Clone)]
pub struct MongoSettings {
    uri: SecretString,
    pub(super) database: String,
    /// The hosts, without secrets.
    pub(super) address: String,
    pub(super) posts: String,
    pub(super) stories: String,
}

/// The connection string may contain a password.
impl fmt::Debug for MongoSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MongoSettings")
            .field("address", &self.address)
            .field("database", &self.database)
            .field("posts", &self.posts)
            .finish_non_exhaustive()
    }
}

impl MongoSettings {
    /// Checks a connection string.
    ///
    /// # Errors
    /// The problem, as the end of a sentence that begins with the name of the setting. Never the string itself.
    pub fn new(uri: &str, posts: String, stories: String) -> Result<Self, String> {
        const NO_URI: &str = "is not a MongoDB connection string (the value is not shown because it may contain a \
                              password; write `@`, `:`, `/` and `%` in a password as `%40`, `%3A`, `%2F` and `%25`)";
        // The driver's parser panics if what follows a `%` is not two characters of one byte each.
        if uri.split('%').skip(1).any(|rest| rest.len() > 1 && !rest.is_char_boundary(2)) {
            return Err(NO_URI.to_owned());
        }
        let parsed = ConnectionString::parse(uri).map_err(|_| NO_URI)?;
        let database = parsed
            .default_database
            .filter(|name| !name.is_empty())
            .ok_or("has no database name: add it after the host, as in `mongodb://host:27017/app`")?;
        let address = format!("mongodb://{}", without_credentials(uri));
        Ok(Self { uri: SecretString::from(uri), database, address, posts, stories })
    }

    /// Creates a client. Its concerns override the connection string: an outcome that a failover undoes would be
    /// published twice, and a claim that is read from a secondary may be out of date.
    pub(super) async fn client(&self) -> mongodb::error::Result<Client> {
        let mut options = ClientOptions::parse(self.uri.expose_secret()).await?;
        options.app_name.get_or_insert_with(|| "postretry".to_owned());
        options.server_selection_timeout.get_or_insert(SELECTION_TIMEOUT);
        options.connect_timeout.get_or_insert(SELECTION_TIMEOUT);
        options.write_concern = Some(majority());
        options.read_concern = Some(ReadConcern::majority());
        options.selection_criteria = Some(SelectionCriteria::ReadPreference(ReadPreference::Primary));
        options.retry_writes = Some(true);
        Client::with_options(options)
    }
}

/// The hosts of a connection string.
fn without_credentials(uri: &str) -> &str {
    let rest = uri.split_once("://").map_or(uri, |(_, rest)| rest);
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    authority.rsplit_once('@').map_or(authority, |(_, hosts)| hosts)
}
