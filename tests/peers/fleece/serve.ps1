# SPDX-License-Identifier: MIT
# What peer.sh runs: a disk "active" and, with a temp image, its snapshot "active/snapshot", until the process is told to stop.
param([string] $ActivePath, [string] $TempPath, [string] $StatePath, [string] $BitmapPath)
$ErrorActionPreference = 'Stop'
Import-Module $env:FLEECE_MODULE

$socket = "$StatePath/nbd.sock"
$format = switch ([IO.Path]::GetExtension($ActivePath)) {
    '.qcow2' { 'Qcow2' }
    '.vhdx' { 'Vhdx' }
    '.vhd' { 'Vhd' }
    default { 'Raw' }
}
$disk = Mount-FleeceDisk -LiteralPath $ActivePath -Name active -Format $format -ListenUri "nbd+unix:///?socket=$([uri]::EscapeDataString($socket))"
$lines = @("active=nbd+unix:///active?socket=$socket")

if ($TempPath -ne '-') {
    $session = @{ Name = 'snapshot'; TempPath = $TempPath }
    if ($BitmapPath) {
        $clusterBytes = 65536
        $session.Range = @(foreach ($line in [IO.File]::ReadAllLines($BitmapPath)) {
            if (-not $line.Trim()) { continue }
            $offset, $length = [long[]] $line.Trim().Split(' ')
            $start = $offset - $offset % $clusterBytes
            $end = [Math]::Min($disk.SizeBytes, [long] [Math]::Ceiling(($offset + $length) / $clusterBytes) * $clusterBytes)
            @{ OffsetBytes = $start; LengthBytes = $end - $start }
        })
    }
    if ($env:PEER_SESSIONS) {
        $session.StatePath = $env:PEER_SESSIONS
    }

    $null = $disk | Start-FleeceSession @session
    $lines += "snapshot=nbd+unix:///active/snapshot?socket=$socket"
}

[IO.File]::WriteAllLines("$StatePath/ready.new", $lines)
[IO.File]::Move("$StatePath/ready.new", "$StatePath/ready")

# Who measures latencies wants to know of the collections that may be behind them; here, because it costs nobody anything.
$collected = -1
while ($true) {
    [Threading.Thread]::Sleep(200)
    if ($collected -ne [GC]::CollectionCount(0)) {
        $collected = [GC]::CollectionCount(0)
        [IO.File]::WriteAllText("$StatePath/collections", [string]::Format([cultureinfo]::InvariantCulture,
            'collections {0}, {1}, {2}, pauses in all {3:F1} ms', $collected, [GC]::CollectionCount(1), [GC]::CollectionCount(2),
            [GC]::GetTotalPauseDuration().TotalMilliseconds))
    }
}
