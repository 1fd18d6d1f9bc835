# SPDX-License-Identifier: MIT
# Matter: the libraries with which shells and the host speak, beside those of PowerShell and of other modules.

BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    Import-ModuleUnderTest
}

Describe 'The libraries beside the module' {
    BeforeEach { Enter-TestFolder }
    AfterEach { Exit-TestFolder }

    It 'have none that the import of the module loads' {
        $folder = Join-Path (Get-Module Fleece).ModuleBase dependencies
        (Get-ChildItem $folder -Recurse -Filter StreamJsonRpc.dll).Directory.Name | Should -Be 'rpc'

        $script = {
            param($Module)
            Import-Module $Module
            [AppDomain]::CurrentDomain.GetAssemblies().Location | Where-Object { $_ -match 'dependencies' }
        }
        $program, $first = @(Get-PowerShellCommand)
        & $program @(@($first) + '-NoProfile', '-Command', "& { $script } '$(Get-ModuleUnderTest)'" | Where-Object { $_ }) |
            Should -BeNullOrEmpty
    }

    It 'work beside those of another module that were loaded first, and leave both to their owners' {
        # Calls over a socket, in a process where other libraries have the names of these.
        $script = {
            param($Module)
            $ErrorActionPreference = 'Stop'
            foreach ($name in 'StreamJsonRpc', 'Nerdbank.Streams', 'Microsoft.VisualStudio.Threading', 'MessagePack') {
                Add-Type "[assembly: System.Reflection.AssemblyVersion(""1.0.0.0"")] public class OfAnother$($name.Replace('.', '')) { }" `
                    -OutputAssembly "$PWD/$name.dll"
                $null = [Reflection.Assembly]::LoadFrom("$PWD/$name.dll")
            }

            Import-Module $Module
            $hosting = [Fleece.Hosting.HostErrors].Assembly
            function Get-Hidden([string] $Type, [string] $Member) {
                $hosting.GetType("Fleece.Hosting.Rpc.$Type").GetMember($Member, 'Static, Instance, Public, NonPublic')
            }
            $library = (Get-Hidden RpcLibrary Load | Where-Object { -not $_.GetParameters() }).Invoke($null, @())
            $json = (Get-Hidden WireJson Options).GetValue($null)
            $limits = [Activator]::CreateInstance($hosting.GetType('Fleece.Hosting.Rpc.RpcLimits'), 1MB, 8)
            $targets = [Array]::CreateInstance($hosting.GetType('Fleece.Hosting.Rpc.RpcTarget'), 0)

            $address = [Net.Sockets.UnixDomainSocketEndPoint] "$PWD/s"
            $listener, $near = 1..2 | ForEach-Object { [Net.Sockets.Socket]::new('Unix', 'Stream', 'Unspecified') }
            $listener.Bind($address)
            $listener.Listen()
            $near.Connect($address)
            $connections = foreach ($socket in $near, $listener.Accept()) {
                $stream = [Net.Sockets.NetworkStream]::new($socket, $true)
                $connection = (Get-Hidden IRpcLibrary Open).Invoke($library, @($stream, $targets, $json, $limits))
                $null = (Get-Hidden IRpcConnection Start).Invoke($connection, @())
                , $connection
            }
            $call = (Get-Hidden IRpcConnection CallAsync).MakeGenericMethod([object])
            $answer = $call.Invoke($connections[0], @('Unknown', @{}, [Threading.CancellationToken]::None))
            try { $null = $answer.AsTask().GetAwaiter().GetResult() } catch { $_.Exception.InnerException.Kind }

            $names = (Get-ChildItem "$(Split-Path $Module)/dependencies/rpc").BaseName
            [Runtime.Loader.AssemblyLoadContext]::Default.Assemblies | Where-Object { $_.GetName().Name -in $names } |
                ForEach-Object { "$($_.GetName().Name) $($_.Location)" } | Sort-Object
        }
        $program, $first = @(Get-PowerShellCommand)
        $lines = & $program @(@($first) + '-NoProfile', '-Command', "& { $script } '$(Get-ModuleUnderTest)'" | Where-Object { $_ })

        $lines[0] | Should -Be 'VersionMismatch'
        $lines | Should -Contain "StreamJsonRpc $PWD/StreamJsonRpc.dll"
        $lines | Where-Object { $_ -match 'dependencies' } | Should -BeNullOrEmpty
        $lines | Where-Object { $_ -match '^Newtonsoft' -and $_ -notmatch [regex]::Escape($PSHOME) } | Should -BeNullOrEmpty
    }
}
