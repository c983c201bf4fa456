-- Keeps an uploaded memory as a snapshot, or as a loan with the parts that are lent. KEYS: record, the memory.
-- ARGV: old record, new record, the memory's lengths.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
if not is_here(2, 3, #ARGV) then
  return 'parts'
end
keep(2, 3, #ARGV)
redis.call('SET', KEYS[1], ARGV[2])
return 1
