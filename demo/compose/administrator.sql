-- An administrator as `pii-vault init` asks for: no superuser. Run once, when the cluster is made.
\getenv password PII_VAULT_DEMO_PASSWORD
CREATE ROLE dba LOGIN CREATEROLE PASSWORD :'password';
GRANT CREATE ON DATABASE logins TO dba;
GRANT CREATE ON SCHEMA public TO dba;
