# SPDX-License-Identifier: MIT
# Serves the guest's disk as export "vm" and does what standard input says, a word a line, answering each with a line:
#   session | backup PATH | stop | quit
param([string] $ImagePath, [string] $SocketPath)
$ErrorActionPreference = 'Stop'
Import-Module $env:FLEECE_MODULE

$format = if ($ImagePath.EndsWith('.qcow2')) { 'Qcow2' } else { 'Raw' }
$listenUri = "nbd+unix:///?socket=$([uri]::EscapeDataString($SocketPath))"
$null = Mount-FleeceDisk -LiteralPath $ImagePath -Name vm -Format $format -ListenUri $listenUri
'ready'
while ($line = [Console]::In.ReadLine()) {
    $word, $path = $line.Split(' ', 2)
    switch ($word) {
        session {
            $session = Start-FleeceSession vm -Name nightly
            'session {0:o}' -f $session.StartedAt
        }
        backup {
            $backup = Read-FleeceSnapshot -Session nightly | Export-Backup -DestinationPath $path
            'backup {0} bytes of data in {1:N0} ms, {2} bytes copied for the session' -f $backup.DataBytes,
                $backup.Duration.TotalMilliseconds, (Get-FleeceSession $session).CopiedBytes
        }
        stop {
            $session = Get-FleeceSession $session
            Stop-FleeceSession $session
            "stopped, $($session.CopiedBytes) bytes copied for the session, it was $($session.State)"
        }
        quit {
            Dismount-FleeceDisk vm -Force
            'bye'
            return
        }
    }
}
