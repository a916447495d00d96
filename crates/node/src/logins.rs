//! Passwords that peers give, checked so that whoever guesses does not keep others out.

use crate::world::WorldRef;
use ringpost_directory::{AccountInfo, Directory, DirectoryError};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// How long a peer that was wrong keeps its turn, so that all its connections together guess five times a second at most.
const WRONG: Duration = Duration::from_millis(200);
/// How long a login waits where all slots are taken, and how often it asks.
const BUSY_LIMIT: Duration = Duration::from_secs(5);
const BUSY_PAUSE: Duration = Duration::from_millis(100);

/// The account whose password this is, which somebody at `from` gives: as [`Directory::login`], in that peer's turn. What
/// was found right before waits for nobody.
pub(crate) async fn check_password(
    world: &WorldRef,
    directory: &Directory,
    from: IpAddr,
    user: &str,
    password: &str,
) -> Result<Option<Arc<AccountInfo>>, DirectoryError> {
    if let Some(account) = directory.remembered_login(user, password).await? {
        return Ok(Some(account));
    }
    let turn = directory.turn(from).await;
    let deadline = world.now() + BUSY_LIMIT;
    let found = loop {
        match directory.login(user, password).await {
            Err(DirectoryError::Busy(_)) if world.now() < deadline => {
                world.sleep_until(world.now() + BUSY_PAUSE).await;
            }
            found => break found,
        }
    };
    if !matches!(found, Ok(Some(_))) {
        // The session holds its own answer back besides.
        let rest = world.sleep_until(world.now() + WRONG);
        world.spawn(Box::pin(async move {
            rest.await;
            drop(turn);
        }));
    }
    found
}
