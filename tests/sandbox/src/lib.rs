//! TikTok, Instagram and `YouTube` as postretry sees them, over HTTP on one port.
//!
//! As strict as the platforms' documentation, and no stricter: a request that they would refuse is refused here, one
//! that they would take is taken, and a rule that a platform does not enforce but a client must keep is written down as
//! a violation. What the real platforms do only
//! on a bad day happens here on demand: answers get lost before or after their effect, uploads break off, processing
//! takes long, tokens lapse. Every request and every published post is recorded.

mod address;
mod control;
mod fault;
mod instagram;
mod multipart;
mod server;
mod tiktok;
mod world;
mod youtube;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use fault::{Act, Fault};
pub use world::{Knobs, Published, Record, World};

/// The simulated platforms, listening on a port of the loopback interface until dropped.
#[derive(Debug)]
pub struct Sandbox {
    address: SocketAddr,
    world: Arc<Mutex<World>>,
    server: JoinHandle<()>,
}

impl Sandbox {
    /// Starts on a free port.
    ///
    /// # Errors
    /// Where no port can be had.
    pub async fn start() -> std::io::Result<Self> {
        Self::start_on(0).await
    }

    /// Starts on this port; 0 for a free one.
    ///
    /// # Errors
    /// Where the port cannot be had.
    pub async fn start_on(port: u16) -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        let address = listener.local_addr()?;
        let world = Arc::new(Mutex::new(World::new(format!("http://{address}"))));
        let server = tokio::spawn(server::serve(listener, Arc::clone(&world)));
        Ok(Self { address, world, server })
    }

    /// Its origin.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Everything that it knows, to look at and to change.
    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a request go wrong.
    pub fn fault(&self, fault: Fault) {
        self.world().faults.push(fault);
    }

    /// The posts that are public, in the order in which they became so.
    pub fn published(&self) -> Vec<Published> {
        self.world().published.clone()
    }

    /// How often an endpoint was called, for example `tiktok.video_init`.
    pub fn calls(&self, endpoint: &str) -> usize {
        self.world().requests.iter().filter(|request| request.endpoint == endpoint).count()
    }

    /// The settings with which postretry talks to it: every origin and the credentials of all three accounts.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        let url = self.url();
        vec![
            ("TIKTOK_API_URL", url.clone()),
            ("TIKTOK_CLIENT_KEY", world::TIKTOK_CLIENT_KEY.to_owned()),
            ("TIKTOK_CLIENT_SECRET", world::TIKTOK_CLIENT_SECRET.to_owned()),
            ("TIKTOK_REFRESH_TOKEN", world::TIKTOK_REFRESH_TOKEN.to_owned()),
            ("INSTAGRAM_API_URL", url.clone()),
            ("INSTAGRAM_UPLOAD_URL", url.clone()),
            ("INSTAGRAM_USER_ID", world::INSTAGRAM_USER_ID.to_owned()),
            ("INSTAGRAM_ACCESS_TOKEN", world::INSTAGRAM_TOKEN.to_owned()),
            ("YOUTUBE_API_URL", url.clone()),
            ("GOOGLE_TOKEN_URL", format!("{url}/token")),
            ("YOUTUBE_CLIENT_ID", world::YOUTUBE_CLIENT_ID.to_owned()),
            ("YOUTUBE_CLIENT_SECRET", world::YOUTUBE_CLIENT_SECRET.to_owned()),
            ("YOUTUBE_REFRESH_TOKEN", world::YOUTUBE_REFRESH_TOKEN.to_owned()),
        ]
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.server.abort();
    }
}
