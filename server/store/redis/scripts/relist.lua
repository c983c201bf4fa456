-- Changes a session's score in an index. KEYS: index. ARGV: member, score.
-- The removal comes first: a full Redis refuses a script at its first write, unless that write takes no memory.
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
return 1
