# SPDX-License-Identifier: MIT
<#
.SYNOPSIS
NBD clients that do what they should not, and the process whose memory they are after. To be dot-sourced.
#>

$script:Read, $script:Write, $script:Cache = 0, 1, 5

function ConvertTo-BigEndian([ulong] $Value, [int] $Bytes) {
    $all = [BitConverter]::GetBytes($Value)
    [array]::Reverse($all)
    $all[(8 - $Bytes)..7]
}

function Get-RequestHeader([int] $Command, [ulong] $OffsetBytes, [uint] $LengthBytes) {
    [byte[]] ((ConvertTo-BigEndian 0x25609513 4) + (ConvertTo-BigEndian $Command 4) + (ConvertTo-BigEndian 1 8) +
        (ConvertTo-BigEndian $OffsetBytes 8) + (ConvertTo-BigEndian $LengthBytes 4))
}

# A client in transmission, with simple replies.
function Connect-Client([string] $SocketPath, [string] $Export = 'vm') {
    $socket = [Net.Sockets.Socket]::new('Unix', 'Stream', 'Unspecified')
    $socket.SendTimeout = $socket.ReceiveTimeout = 60000
    $socket.Connect([Net.Sockets.UnixDomainSocketEndPoint]::new($SocketPath))
    Receive-Bytes $socket 18
    $name = [Text.Encoding]::UTF8.GetBytes($Export)
    $null = $socket.Send([byte[]] ((ConvertTo-BigEndian 3 4) + (ConvertTo-BigEndian 0x49484156454F5054 8) + (ConvertTo-BigEndian 1 4) +
        (ConvertTo-BigEndian $name.Length 4) + $name))
    Receive-Bytes $socket 10
    $socket
}

# Reads that many bytes and forgets them.
function Receive-Bytes([Net.Sockets.Socket] $Socket, [int] $LengthBytes) {
    $buffer = [byte[]]::new([Math]::Min($LengthBytes, 1MB))
    while ($LengthBytes -gt 0) {
        $got = $Socket.Receive($buffer, 0, [Math]::Min($LengthBytes, $buffer.Length), 'None')
        if ($got -eq 0) { throw 'The server closed the connection.' }
        $LengthBytes -= $got
    }
}

# Sends what the server takes at once, and no more.
function Send-WithoutWaiting([Net.Sockets.Socket] $Socket, [byte[]] $Data) {
    $Socket.Blocking = $false
    $problem = [Net.Sockets.SocketError]::Success
    $null = $Socket.Send($Data, 0, $Data.Length, 'None', [ref] $problem)
    $Socket.Blocking = $true
}

# Each sort of client: what it does after it has connected.
$script:ClientSorts = [ordered] @{
    'sends the head of a large write' = {
        param($Socket)
        $null = $Socket.Send([byte[]] ((Get-RequestHeader $Write 0 32MB) + [byte[]]::new(1000)))
    }
    'sends most of a large write' = {
        param($Socket)
        $null = $Socket.Send((Get-RequestHeader $Write 0 32MB))
        $null = $Socket.Send([byte[]]::new(9MB))
    }
    'writes much and is idle' = {
        param($Socket)
        $null = $Socket.Send((Get-RequestHeader $Write 0 32MB))
        $null = $Socket.Send([byte[]]::new(32MB))
        Receive-Bytes $Socket 16
    }
    'reads much and is idle' = {
        param($Socket)
        $null = $Socket.Send((Get-RequestHeader $Read 0 32MB))
        Receive-Bytes $Socket (32MB + 16)
    }
    'asks for much and reads nothing' = {
        param($Socket)
        $request = Get-RequestHeader $Read 0 32MB
        Send-WithoutWaiting $Socket ([byte[]] ($request * 16))
    }
    'asks for many small pieces and reads nothing' = {
        param($Socket)
        $request = Get-RequestHeader $Read 4096 4096
        Send-WithoutWaiting $Socket ([byte[]] ($request * 500))
    }
    'has much read ahead and is idle' = {
        param($Socket)
        $null = $Socket.Send((Get-RequestHeader $Cache 0 32MB))
        Receive-Bytes $Socket 16
    }
    'closes in the middle of a large write' = {
        param($Socket)
        $null = $Socket.Send([byte[]] ((Get-RequestHeader $Write 0 32MB) + [byte[]]::new(100000)))
        $Socket.Dispose()
    }
}

# A PowerShell that serves the raw image vm.raw of a folder at vm.sock there, and answers to commands (server.ps1).
function Start-Server([string] $ModulePath, [string] $Folder) {
    # A PowerShell that is a tool of .NET is a library that dotnet runs; its launcher would be a second process.
    $program = [Environment]::ProcessPath
    $isTool = [IO.Path]::GetFileNameWithoutExtension($program) -ne 'pwsh'
    $start = [Diagnostics.ProcessStartInfo]::new($program)
    $arguments = @(if ($isTool) { Join-Path $PSHOME pwsh.dll }) + '-NoProfile', '-NonInteractive', '-File',
        (Join-Path $PSScriptRoot server.ps1), $ModulePath, $Folder
    foreach ($argument in $arguments) { $start.ArgumentList.Add($argument) }
    $start.RedirectStandardInput = $start.RedirectStandardOutput = $true
    # Its memory is that of a process that sets nothing of the collector.
    $null = $start.Environment.Remove('DOTNET_GCgen0size')
    $server = [Diagnostics.Process]::Start($start)
    if ($server.StandardOutput.ReadLine() -ne 'ready') { throw 'The server did not start.' }
    $server
}

# Bytes resident as they are, and live after a full collection.
function Measure-Server([Diagnostics.Process] $Server) {
    $resident, $live = (Invoke-Server $Server 'measure') -split ' '
    [pscustomobject]@{ ResidentBytes = [long] $resident; LiveBytes = [long] $live }
}

# Has the server do something, and waits until it has.
function Invoke-Server([Diagnostics.Process] $Server, [string] $Command) {
    $Server.StandardInput.WriteLine($Command)
    $answer = $Server.StandardOutput.ReadLine()
    if ($null -eq $answer) { throw "The server ended at '$Command'." }
    $answer
}

function Stop-Server([Diagnostics.Process] $Server) {
    $Server.StandardInput.Close()
    if (-not $Server.WaitForExit(60000)) { $Server.Kill() }
    $Server.Dispose()
}
