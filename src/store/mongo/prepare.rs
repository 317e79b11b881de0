//! What is done before a pass: the indexes, and a look whether the posts may be somewhere else.

use futures_util::TryStreamExt;
use mongodb::IndexModel;
use mongodb::bson::{RawDocumentBuf, doc};
use mongodb::error::Error;

use super::{MongoPostStore, error, index};
use crate::post::BackoffFrom;
use crate::store::StoreError;

impl MongoPostStore {
    /// Creates the indexes that are missing. Returns what a person should know of those that could not be made.
    pub(super) async fn prepare_indexes(&self, backoff_from: BackoffFrom) -> Result<Vec<String>, StoreError> {
        let create = async |indexes: Vec<IndexModel>| match self.posts.create_indexes(indexes).await {
            Ok(_) => Ok(None),
            Err(refused) if error::is_unauthorized(&refused) => Ok(Some(format!(
                "the user may not create the indexes of collection `{}`; passes continue without them but become slow",
                self.posts.name()
            ))),
            Err(refused) if error::is_unindexable(&refused) => Ok(Some(format!(
                "the indexes of collection `{}` cannot be created, because a document has values that an index cannot \
                 hold, for example lists in two fields of one index; passes continue without them but become slow",
                self.posts.name()
            ))),
            Err(other) => Err(self.failed("create the indexes of")(other)),
        };
        let existing = self.index_names().await?;
        let has = |name: &str| existing.iter().any(|other| other == name);
        let is_complete = !index::OUTDATED.iter().any(|name| has(name))
            && index::of_posts_names(backoff_from).all(has)
            && self
                .usage()
                .await?
                .entries
                .iter()
                .all(|entry| index::of_deliveries_names(entry).iter().all(|name| has(name)));
        if is_complete {
            return Ok(Vec::new());
        }
        let missing = |indexes: Vec<IndexModel>| -> Vec<IndexModel> {
            let is_missing = |index: &IndexModel| {
                let name = index.options.as_ref().and_then(|options| options.name.as_ref());
                name.is_none_or(|name| !existing.contains(name))
            };
            indexes.into_iter().filter(is_missing).collect()
        };
        let of_posts = missing(index::of_posts(backoff_from));
        if !of_posts.is_empty()
            && let Some(warning) = create(of_posts).await?
        {
            return Ok(vec![warning]);
        }
        // Those of deliveries are made once there are any.
        let names = self.usage().await?.entries.iter().copied();
        let of_deliveries = missing(names.clone().flat_map(index::of_deliveries).collect());
        if !of_deliveries.is_empty()
            && let Some(warning) = create(of_deliveries).await?
        {
            return Ok(vec![warning]);
        }
        self.create_suspect_indexes(missing(index::of_suspects(names))).await?;
        self.drop_outdated_indexes(&existing).await;
        Ok(Vec::new())
    }

    /// Creates the indexes of what may be malformed, if the server allows it. Without them only `stats` becomes slow.
    async fn create_suspect_indexes(&self, indexes: Vec<IndexModel>) -> Result<(), StoreError> {
        if indexes.is_empty() {
            return Ok(());
        }
        match self.posts.create_indexes(indexes).await {
            Ok(_) => Ok(()),
            // Its message repeats the whole index.
            Err(refused) if error::is_refusal(&refused) => {
                log::debug!("the server refuses the indexes of malformed posts: `stats` reads every failed post");
                Ok(())
            }
            Err(other) => Err(self.failed("create the indexes of")(other)),
        }
    }

    /// A warning about a posts collection that is missing or empty, with the collections that may have been meant.
    pub(super) async fn misplaced_posts(&self) -> Result<Option<String>, StoreError> {
        let wanted = self.posts.name();
        let any = self.raw_posts.find_one(doc! {}).sort(doc! { "_id": 1 }).projection(doc! { "_id": 1 });
        if self.run("read posts from", any).await?.is_some() {
            return Ok(None);
        }
        let listed = self.database.list_collection_names().authorized_collections(true).await;
        let names = match listed {
            Ok(names) => names,
            // Without the privilege to list collections there is nothing to say.
            Err(refused) if error::is_unauthorized(&refused) => return Ok(None),
            Err(other) => return Err(self.failed("list the collections of")(other)),
        };
        let plain = |name: &str| name.to_lowercase().replace(['_', '-'], "");
        let mut alike: Vec<&String> = names
            .iter()
            .filter(|name| *name != wanted && (plain(name) == plain(wanted) || plain(name).contains("post")))
            .filter(|name| !name.starts_with("postretry_"))
            .collect();
        alike.sort();
        let exists = names.iter().any(|name| name == wanted);
        let mut meant = Vec::new();
        for name in alike {
            let other = self.database.collection::<RawDocumentBuf>(name);
            // Whoever may not read it cannot have meant it, and an empty one is as good as this one.
            if matches!(other.find_one(doc! {}).projection(doc! { "_id": 1 }).await, Ok(Some(_))) || !exists {
                meant.push(format!("`{name}`"));
            }
        }
        if exists && meant.is_empty() {
            return Ok(None);
        }
        let advice = if meant.is_empty() {
            "`POST_COLLECTION` and the database in `MONGODB_URI` say where the posts are".to_owned()
        } else {
            format!("was {} meant? `POST_COLLECTION` sets it", meant.join(" or "))
        };
        let database = self.database.name();
        Ok(Some(if exists {
            format!("collection `{wanted}` of database `{database}` is empty; {advice}")
        } else {
            format!("database `{database}` has no collection `{wanted}`; {advice}")
        }))
    }

    /// The names of the indexes that there are; none if the collection is missing or the user may not see them.
    async fn index_names(&self) -> Result<Vec<String>, StoreError> {
        // Only the names are read: the driver's own list reads the whole of every index.
        let list = doc! { "listIndexes": self.posts.name(), "cursor": { "batchSize": 1_000 } };
        let names = async {
            let listed = self.database.run_cursor_command(list).await?.with_type::<RawDocumentBuf>();
            listed.map_ok(|index| index.get_str("name").unwrap_or_default().to_owned()).try_collect().await
        };
        let has_none = |error: &Error| error::is_unauthorized(error) || error::is_missing_collection(error);
        let names = match names.await {
            // The driver asks again if the server changes or the connection is lost.
            Err(failed) if !has_none(&failed) => self.posts.list_index_names().await,
            answer => answer,
        };
        match names {
            Err(refused) if has_none(&refused) => Ok(Vec::new()),
            names => names.map_err(self.failed("read the indexes of")),
        }
    }

    /// Drops the indexes of earlier versions, which nothing uses.
    async fn drop_outdated_indexes(&self, names: &[String]) {
        for name in names.iter().filter(|name| index::OUTDATED.contains(&name.as_str())) {
            match self.posts.drop_index(name).await {
                Ok(()) => log::info!("dropped index `{name}`, which an earlier version used"),
                // Another process may have dropped it meanwhile.
                Err(refused) => log::debug!("index `{name}` was not dropped: {refused}"),
            }
        }
    }
}
