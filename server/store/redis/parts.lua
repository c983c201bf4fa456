-- Prepended to every script. An uploaded memory: KEYS[root] is its root, and the keys after it are its new parts.
-- ARGV[first] is the number of the root's values; the lengths of the values and of the new parts in bytes follow, up to
-- ARGV[last].

-- Whether all of it is here.
local function is_here(root, first, last)
  local values = tonumber(ARGV[first])
  for i = 1, values do
    if redis.call('HSTRLEN', KEYS[root], string.format('%.0f', i - 1)) ~= tonumber(ARGV[first + i]) then
      return false
    end
  end
  for i = values + 1, last - first do
    if redis.call('STRLEN', KEYS[root + i - values]) ~= tonumber(ARGV[first + i]) then
      return false
    end
  end
  return redis.call('HLEN', KEYS[root]) == values
end

-- Keeps all of it; the number of the key after its last one.
local function keep(root, first, last)
  local next_key = root + last - first - tonumber(ARGV[first]) + 1
  for i = root, next_key - 1 do
    redis.call('PERSIST', KEYS[i])
  end
  return next_key
end

-- Removes the keys from this number on.
local function remove_from(number)
  for i = number, #KEYS do
    redis.call('UNLINK', KEYS[i])
  end
end
