<#
.SYNOPSIS
Serves a disk over NBD to a guest, and backs it up through the network while the guest writes.

.DESCRIPTION
Makes a disk image, mounts it, and offers it on a unix socket. A guest connects to the socket and overwrites the disk all the time;
a session pins an instant, and its snapshot is read from the same socket into a backup and consumed. Then it compares digests: the
backup equals the disk at the instant, and the live disk has moved on. Everything lies in a folder for temporary files and is
removed at the end.

Guest and reader connect to the server as other processes would. While the script runs, real ones may too: it prints the addresses.

From the shell, with the module staged in output/ (./build.ps1):

    Import-Module ./output/Fleece/*/Fleece.psd1
    ./docs/examples/serve-a-disk.ps1

.PARAMETER SizeBytes
Size of the disk.
#>
param([long] $SizeBytes = 64MB)

$ErrorActionPreference = 'Stop'
$BlockBytes = 4096
$PieceBytes = 1MB

function Get-Digest([string] $Disk) {
    $hash = [System.Security.Cryptography.IncrementalHash]::CreateHash('SHA256')
    for ($offset = 0L; $offset -lt $SizeBytes; $offset += $PieceBytes) {
        $hash.AppendData((Read-FleeceDisk $Disk $offset ([Math]::Min($PieceBytes, $SizeBytes - $offset))))
    }
    [Convert]::ToHexString($hash.GetHashAndReset()).ToLowerInvariant()
}

# Writes random blocks until it is told to stop, in a runspace of its own; "guest" is the disk as it is seen through the socket.
function Start-Guest([hashtable] $Control) {
    $state = [System.Management.Automation.Runspaces.InitialSessionState]::CreateDefault2()
    $state.ImportPSModule((Get-Module Fleece).Path)
    $shell = [powershell]::Create($state)
    $null = $shell.AddScript({
        param($SizeBytes, $BlockBytes, $Control)
        $random = [Random]::new(7)
        $data = [byte[]]::new($BlockBytes)
        while (-not $Control.Stop) {
            $random.NextBytes($data)
            Write-FleeceDisk guest ($random.NextInt64($SizeBytes / $BlockBytes) * $BlockBytes) $data -ErrorAction Stop
            $Control.Written++
        }
    }).AddArgument($SizeBytes).AddArgument($BlockBytes).AddArgument($Control)
    @{ Shell = $shell; Running = $shell.BeginInvoke() }
}

function Wait-Written([long] $Count) {
    while ($control.Written -lt $Count) {
        if ($guest.Running.IsCompleted) { $null = $guest.Shell.EndInvoke($guest.Running) }
        [Threading.Thread]::Sleep(1)
    }
}

$folder = [IO.Directory]::CreateTempSubdirectory('fleece-serve-').FullName
$control = @{ Stop = $false; Written = 0L }
$guest = $null
# The disks are this process's own and end with the script, whether the machine has a Fleece host or not.
$hostBefore = $env:FLEECE_HOST
$env:FLEECE_HOST = 'none'
try {
    # The server: a disk on a unix socket, which is for this user alone.
    $image = [IO.Path]::Combine($folder, 'vm.qcow2')
    $socket = [Uri]::EscapeDataString([IO.Path]::Combine($folder, 'vm.sock'))
    $null = New-FleeceImage $image -SizeBytes $SizeBytes
    $null = Mount-FleeceDisk $image -Name vm -ListenUri "nbd+unix:///?socket=$socket"
    $random = [Random]::new(42)
    $piece = [byte[]]::new($PieceBytes)
    for ($offset = 0L; $offset + $PieceBytes -le $SizeBytes; $offset += 2 * $PieceBytes) {
        $random.NextBytes($piece)
        Write-FleeceDisk vm $offset $piece
    }
    'Disk     {0}' -f (Get-FleeceExport vm).Uri

    # The instant. The digest is taken for the proof only; a session needs no rest.
    $digestAtInstant = Get-Digest vm
    $session = Start-FleeceSession vm -Name nightly
    'Snapshot {0}' -f (Get-FleeceExport vm).Uris[1]

    # The guest: connects to the socket and writes.
    $null = Mount-FleeceDisk "nbd+unix:///vm?socket=$socket" -Name guest
    $guest = Start-Guest $control
    Wait-Written 200

    # The reader: from the socket into a backup; what is stored is consumed.
    $path = [IO.Path]::Combine($folder, 'backup.qcow2')
    $backup = Read-FleeceSnapshot -Uri "nbd+unix:///vm/nightly?socket=$socket" -DiscardConsumed | Export-Backup -DestinationPath $path
    Wait-Written ($control.Written + 100)
    $session = Get-FleeceSession $session # What an object says is of the moment at which it was asked for.
    'Backup   {0:N1} MiB of data in {1:N2} s, {2:N1} MiB of old data kept meanwhile, {3:N1} MiB consumed' -f
        ($backup.DataBytes / 1MB), $backup.Duration.TotalSeconds, ($session.CopiedBytes / 1MB), ($session.ConsumedBytes / 1MB)
    Stop-FleeceSession $session

    # The guest leaves, then the server ends.
    $control.Stop = $true
    $null = $guest.Shell.EndInvoke($guest.Running)
    Dismount-FleeceDisk guest
    $digestOfLive = Get-Digest vm
    Dismount-FleeceDisk vm

    # The proof.
    $null = Mount-FleeceDisk $path -Name backup -ReadOnly
    $digestOfBackup = Get-Digest backup
    'Instant  sha256 {0}' -f $digestAtInstant
    'Backup   sha256 {0}' -f $digestOfBackup
    'Live     sha256 {0}' -f $digestOfLive
    if ($digestOfBackup -ne $digestAtInstant) { throw 'The backup is not the disk as it was at the instant.' }
    if ($digestOfLive -eq $digestAtInstant) { throw 'The live disk did not move on.' }
    'Proved   the backup is the disk as it was at the instant, and the guest went on writing.'
} finally {
    $control.Stop = $true
    if ($guest) { $guest.Shell.Dispose() }
    # The guest before its server: closing flushes, and that waits for a server that is gone.
    Get-FleeceDisk guest -ErrorAction Ignore | Dismount-FleeceDisk -Force
    Get-FleeceDisk vm, backup -ErrorAction Ignore | Dismount-FleeceDisk -Force
    [IO.Directory]::Delete($folder, $true)
    $env:FLEECE_HOST = $hostBefore
}
