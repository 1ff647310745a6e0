import type { Db } from '../database/database.ts'

/** A row of `instance_secrets`. */
export interface InstanceRecord {
  readonly value: string
  readonly kept_in: 'database' | 'file'
}

/** What the database records of the instance, by name. */
export async function listRecords(db: Db): Promise<Map<string, InstanceRecord>> {
  const rows = await db<{ name: string } & InstanceRecord>`
    select name, value, kept_in from instance_secrets`
  return new Map(rows.map(({ name, ...record }) => [name, record]))
}

/** Records a value once; whoever comes second changes nothing. */
export async function addRecord(db: Db, name: string, record: InstanceRecord): Promise<void> {
  await db`insert into instance_secrets (name, value, kept_in)
    values (${name}, ${record.value}, ${record.kept_in}) on conflict (name) do nothing`
}
