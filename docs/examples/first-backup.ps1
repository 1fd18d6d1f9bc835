<#
.SYNOPSIS
Backs up a disk while it is being written, and proves that the backup is the disk as it was at one instant.

.DESCRIPTION
Makes a disk image (or takes a copy of yours), mounts it, lets writers overwrite it all the time, starts a session, and pipes
the session's snapshot into a backup while the writers go on. Then it compares digests: the backup equals the disk at the
instant, and the live disk has moved on.

From the shell, with the module staged in output/ (./build.ps1):

    Import-Module ./output/Fleece/*/Fleece.psd1
    ./docs/examples/first-backup.ps1

.PARAMETER Path
An image to try it on. The script works on a copy; your image is only read.

.PARAMETER DestinationPath
Where to keep the backup. Without it, everything is made in a folder for temporary files and removed at the end.

.PARAMETER SizeBytes
Size of the image that is made when no Path is given.

.PARAMETER WriterCount
How many writers overwrite the disk at once.
#>
param(
    [string] $Path,
    [string] $DestinationPath,
    [long] $SizeBytes = 256MB,
    [int] $WriterCount = 2
)

$ErrorActionPreference = 'Stop'
$BlockBytes = 4096
$PieceBytes = 1MB

function Get-Digest([string] $Disk, [long] $LengthBytes) {
    $hash = [System.Security.Cryptography.IncrementalHash]::CreateHash('SHA256')
    for ($offset = 0L; $offset -lt $LengthBytes; $offset += $PieceBytes) {
        $hash.AppendData((Read-FleeceDisk $Disk $offset ([Math]::Min($PieceBytes, $LengthBytes - $offset))))
    }
    [Convert]::ToHexString($hash.GetHashAndReset()).ToLowerInvariant()
}

function Start-Writer([int] $Number, [string] $Disk, [long] $LengthBytes, [hashtable] $Control) {
    $state = [System.Management.Automation.Runspaces.InitialSessionState]::CreateDefault2()
    $state.ImportPSModule((Get-Module Fleece).Path)
    $shell = [powershell]::Create($state)
    $null = $shell.AddScript({
        param($Number, $Disk, $LengthBytes, $BlockBytes, $Control)
        $random = [Random]::new($Number)
        $data = [byte[]]::new($BlockBytes)
        while (-not $Control.Stop) {
            if (-not $Control.Go.IsSet) {
                $null = $Control.Resting.Signal()
                $Control.Go.Wait()
            }
            $random.NextBytes($data)
            $block = $random.NextInt64($LengthBytes / $BlockBytes)
            Write-FleeceDisk $Disk ($block * $BlockBytes) $data -ErrorAction Stop
            $Control.Written[$Number]++
        }
    }).AddArgument($Number).AddArgument($Disk).AddArgument($LengthBytes).AddArgument($BlockBytes).AddArgument($Control)
    @{ Shell = $shell; Running = $shell.BeginInvoke() }
}

function Measure-Written([hashtable] $Control) {
    $sum = 0L
    foreach ($count in $Control.Written) { $sum += $count }
    $sum
}

function Format-MiB([double] $Bytes) { '{0:N1} MiB' -f ($Bytes / 1MB) }

$folder = [IO.Directory]::CreateTempSubdirectory('fleece-first-backup-').FullName
$writers = @()
$control = @{
    Stop = $false
    Go = [Threading.ManualResetEventSlim]::new($true)
    Resting = [Threading.CountdownEvent]::new($WriterCount)
    Written = [long[]]::new($WriterCount)
}
# The disks are this process's own and end with the script, whether the machine has a Fleece host or not.
$hostBefore = $env:FLEECE_HOST
$env:FLEECE_HOST = 'none'
try {
    # The disk.
    if ($Path) {
        $source = $ExecutionContext.SessionState.Path.GetUnresolvedProviderPathFromPSPath($Path)
        $image = [IO.Path]::Combine($folder, 'live' + [IO.Path]::GetExtension($source))
        [IO.File]::Copy($source, $image)
    } else {
        $image = [IO.Path]::Combine($folder, 'live.raw')
        $null = New-FleeceImage $image -SizeBytes $SizeBytes
    }
    $disk = Mount-FleeceDisk $image -Name live
    $length = $disk.SizeBytes
    if (-not $Path) {
        # Two thirds data, one third holes, as on a disk in use.
        $random = [Random]::new(42)
        $piece = [byte[]]::new($PieceBytes)
        for ($offset = 0L; $offset + $PieceBytes -le $length; $offset += $PieceBytes) {
            if (($offset / $PieceBytes) % 3 -ne 2) {
                $random.NextBytes($piece)
                Write-FleeceDisk live $offset $piece
            }
        }
    }
    'Disk     {0}, {1}, {2}' -f $image, $disk.Format, (Format-MiB $length)

    # The guests: writers that overwrite random blocks all the time.
    for ($number = 0; $number -lt $WriterCount; $number++) {
        $writers += Start-Writer $number live $length $control
    }
    while ((Measure-Written $control) -lt 100) { [Threading.Thread]::Sleep(1) }
    'Guests   {0} writers, {1} bytes a write' -f $WriterCount, $BlockBytes

    # The instant. The session itself needs no rest; the writers rest only so that the disk's digest can be taken for the proof.
    $control.Go.Reset()
    $control.Resting.Wait()
    $digestAtInstant = Get-Digest live $length
    $session = Start-FleeceSession live -Name first-backup
    $writtenBefore = Measure-Written $control
    $control.Go.Set()
    'Instant  {0:yyyy-MM-dd HH:mm:ss.fff}, session {1}' -f $session.StartedAt.LocalDateTime, $session.Id

    # The main job.
    $backupPath = if ($DestinationPath) {
        $ExecutionContext.SessionState.Path.GetUnresolvedProviderPathFromPSPath($DestinationPath)
    } else { [IO.Path]::Combine($folder, 'backup.qcow2') }
    $backup = Read-FleeceSnapshot -Session $session -DiscardConsumed | Export-Backup -DestinationPath $backupPath
    'Backup   {0}, {1}: {2} of data in {3:N2} s, {4}/s' -f $backup.Path, $backup.Format,
        (Format-MiB $backup.DataBytes), $backup.Duration.TotalSeconds, (Format-MiB $backup.BytesPerSecond)

    # A backup of a small disk takes so little time that the guests may need a moment more to change it.
    while ((Measure-Written $control) -lt $writtenBefore + 100) { [Threading.Thread]::Sleep(1) }
    'Copied   {0} of old data kept for the session, {1} guest writes since the instant' -f
        (Format-MiB (Get-FleeceSession $session).CopiedBytes), ((Measure-Written $control) - $writtenBefore)
    Stop-FleeceSession $session
    $control.Stop = $true
    foreach ($writer in $writers) { $null = $writer.Shell.EndInvoke($writer.Running) }

    # The proof.
    $null = Mount-FleeceDisk $backupPath -Name backup -ReadOnly
    $digestOfBackup = Get-Digest backup $length
    $digestOfLive = Get-Digest live $length
    'Instant  sha256 {0}' -f $digestAtInstant
    'Backup   sha256 {0}' -f $digestOfBackup
    'Live     sha256 {0}' -f $digestOfLive
    if ($digestOfBackup -ne $digestAtInstant) { throw 'The backup is not the disk as it was at the instant.' }
    if ($digestOfLive -eq $digestAtInstant) { throw 'The live disk did not move on.' }
    'Proved   the backup is the disk as it was at the instant, and the live disk has moved on.'
} finally {
    $control.Stop = $true
    $control.Go.Set()
    foreach ($writer in $writers) { $writer.Shell.Dispose() }
    Get-FleeceDisk backup, live -ErrorAction Ignore | Dismount-FleeceDisk -Force
    [IO.Directory]::Delete($folder, $true)
    $env:FLEECE_HOST = $hostBefore
}
