//! Passwords that are set where psql looks for them.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::support::{PASSWORD, Who, World};

struct Home(PathBuf);

impl Home {
    fn new(world: &World) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(&world.id);
        std::fs::create_dir(&folder).unwrap();
        Self(folder)
    }

    fn write(&self, name: &str, content: &str, mode: u32) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path.into_os_string().into_string().unwrap()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_are_found_where_psql_looks_for_them() {
    let world = World::vault().await;
    let home = Home::new(&world);
    let url = world.database_url(Who::Redrive);
    let config: tokio_postgres::Config = url.parse().unwrap();
    let (user, database) = (config.get_user().unwrap(), config.get_dbname().unwrap());
    let port = config.get_ports()[0];
    let bare = format!("postgres://{user}@127.0.0.1:{port}/{database}");
    let line = format!("127.0.0.1:{port}:{database}:{user}:{}\n", PASSWORD);
    let list = |url: &str, env: &[(&str, &str)]| {
        let args = ["etl", "dead-letters", "list", "--database-url", url];
        world.pii_vault_with(Who::Nobody, &args, &[&[("DATABASE_URL", "")], env].concat()).finish()
    };

    let nowhere = home.write("empty", "", 0o600);
    let refused = list(&bare, &[("PGPASSFILE", &nowhere)]).exits(1);
    assert!(refused.stderr.contains("asks for a password, and none is set"), "{}", refused.stderr);
    list(&bare, &[("PGPASSWORD", PASSWORD)]).done();
    let good = home.write("good", &format!("# ours\n127.0.0.1:1:*:*:wrong\n{line}*:*:*:*:wrong\n"), 0o600);
    list(&bare, &[("PGPASSFILE", &good)]).done();
    list(&format!("{bare}?passfile={good}"), &[("PGPASSFILE", &nowhere)]).done();
    home.write(".pgpass", &line, 0o600);
    list(&bare, &[("HOME", home.0.to_str().unwrap())]).done();
    let wrong = home.write("wrong", "*:*:*:*:geheim\n", 0o600);
    let refused = list(&bare, &[("PGPASSFILE", &wrong)]).exits(1);
    assert!(refused.stderr.contains("SQLSTATE 28P01") && !refused.stderr.contains("geheim"), "{}", refused.stderr);
    let open = home.write("open", &line, 0o644);
    let refused = list(&bare, &[("PGPASSFILE", &open)]).exits(1);
    assert!(refused.stderr.contains("others may read it; chmod 0600"), "{}", refused.stderr);
    // What is in the URL goes before all of it.
    let in_url = ["etl", "dead-letters", "list"];
    world.pii_vault_with(Who::Redrive, &in_url, &[("PGPASSWORD", "wrong"), ("PGPASSFILE", &wrong)]).finish().done();
}
