"""Is it backed up, and does it restore: backups of the SQL database and of the DynamoDB table.

selection     which backups ENVIRONMENT asks for
base          what all of them offer
sql           of the SQL database: everything in development; staff users and keys in production
  folder      a file and a manifest for each backup
  inspection  whether such a file is intact, and what it holds
  replacing   a backup in the place of the database
  practice    the folder in which that is practised
table         of the DynamoDB table
  recovery    its point-in-time recovery
"""
