# One line for PowerShell 7: $server and $uuid name the counter, $key the build. A failed request throws.
$number = Invoke-RestMethod -Method Post -Uri "$($server.TrimEnd('/'))/$uuid" -Headers @{ 'Idempotency-Key' = "`"$key`"" } -MaximumRedirection 0 -TimeoutSec 30 -ErrorAction Stop | ForEach-Object bn; if (-not ($number -ge 1)) { throw "expected a build number, got '$number'" }
