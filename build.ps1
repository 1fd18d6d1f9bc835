# SPDX-License-Identifier: MIT
<#
.SYNOPSIS
Builds the module, tests it and checks its style.

.DESCRIPTION
Needs the .NET 10 SDK alone. Pester comes from NuGet where it is not installed; PSScriptAnalyzer and Microsoft.PowerShell.PlatyPS are used where they are installed, and the build says so when they are not.

.PARAMETER Task
Build   stages the module in output/Fleece/<version>, with its help
Demo    stages the module, then backs up a disk while writers overwrite it, and proves the backup (docs/examples/first-backup.ps1)
Docs    writes the help of the staged module from docs/en-US
Test    runs the .NET tests and the cmdlet tests
Cmdlets runs the cmdlet tests against the staged module in processes of their own
Lint    checks the format of the C# sources and analyses the scripts
DiscUtils builds and tests the adapter that reads VMDK and VDI, and adds it to the staged module; its packages are not on every registry
Clean   removes everything that the other tasks have made

.PARAMETER Configuration
The configuration of the .NET projects.

.EXAMPLE
./build.ps1 -Task Build, Test

In a PowerShell that is open.

.EXAMPLE
dotnet tool exec powershell --yes -- ./build.ps1 -Task Test

From any other shell, with the PowerShell that .config/dotnet-tools.json pins. For several tasks: ... -- -Command './build.ps1 -Task Build, Lint'
#>
[CmdletBinding()]
param(
    [ValidateSet('Build', 'Demo', 'Docs', 'Test', 'Cmdlets', 'DiscUtils', 'Lint', 'Clean')]
    [string[]] $Task = 'Build',

    [ValidateSet('Debug', 'Release')]
    [string] $Configuration = 'Release'
)

$ErrorActionPreference = 'Stop'
Set-StrictMode -Version 3.0

# The PowerShell that runs this script. As a tool of .NET its process is dotnet.
$PowerShell = @([Environment]::ProcessPath)
if ([IO.Path]::GetFileNameWithoutExtension($PowerShell[0]) -ne 'pwsh') { $PowerShell += Join-Path $PSHOME 'pwsh.dll' }

$Root = $PSScriptRoot
$Solution = Join-Path $Root 'src/Fleece.slnx'
$Version = (Import-PowerShellDataFile (Join-Path $Root 'Fleece.psd1')).ModuleVersion
$ModuleBase = Join-Path $Root "output/Fleece/$Version"
$CmdletTests = Join-Path $Root 'tests/cmdlets'
$PesterVersion = '5.9.1'

# Runs a native program and ends the build when it fails, which PowerShell does not do by itself.
function Invoke-Native([string] $Program, [string[]] $Arguments) {
    & $Program @Arguments
    if ($LASTEXITCODE -ne 0) {
        throw "'$Program $Arguments' ended with exit code $LASTEXITCODE."
    }
}

# Runs commands in a PowerShell of its own, because a module's assemblies stay locked in the process that has loaded them.
function Invoke-InPowerShell([string[]] $Arguments) {
    $program, $first = $PowerShell
    $before = $env:FLEECE_HOST
    # A host of this machine has nothing to do with what is built and tested here.
    $env:FLEECE_HOST = 'none'
    try {
        Invoke-Native $program (@($first) + '-NoProfile', '-NonInteractive' + $Arguments | Where-Object { $_ })
    } finally {
        $env:FLEECE_HOST = $before
    }
}

# A string as it stands in a command for another PowerShell.
function Format-Literal([string] $Text) {
    "'" + [System.Management.Automation.Language.CodeGeneration]::EscapeSingleQuotedStringContent($Text) + "'"
}

function Assert-Sdk {
    if (-not (Get-Command dotnet -CommandType Application -ErrorAction Ignore)) {
        throw 'The .NET SDK is not installed or not on the path; Fleece needs version 10 or later.'
    }
    $sdk = Invoke-Native dotnet '--version'
    if ([int] ($sdk -split '\.')[0] -lt 10) {
        throw "Fleece needs the .NET SDK 10 or later; this is $sdk."
    }
}

# Finds an optional tool and says so when it is missing: a check that did not run must not look like one that passed.
function Find-Tool([string] $Name, [version] $MinimumVersion, [string] $Without) {
    $found = Get-Module $Name -ListAvailable | Where-Object Version -GE $MinimumVersion |
        Sort-Object Version -Descending | Select-Object -First 1
    if (-not $found) {
        Write-Warning "$Name $MinimumVersion is not installed: $Without"
    }
    $found
}

function Build-Module {
    Assert-Sdk
    $published = Join-Path $Root "src/Fleece/bin/$Configuration/staging"
    if (Test-Path $published) { Remove-Item $published -Recurse -Force }
    Invoke-Native dotnet publish, (Join-Path $Root 'src/Fleece/Fleece.csproj'), '--configuration', $Configuration,
        '--output', $published, '--nologo'

    # PowerShell brings its own assemblies; a second copy of them beside the module would be loaded instead.
    if (Test-Path $ModuleBase) { Remove-Item $ModuleBase -Recurse -Force }
    $null = New-Item $ModuleBase -ItemType Directory
    Get-ChildItem $published -File |
        Where-Object { $_.Extension -in '.dll', '.psd1', '.ps1xml' } |
        Where-Object Name -NotLike 'System.Management.Automation*' |
        Copy-Item -Destination $ModuleBase
    Copy-Item (Join-Path $published 'dependencies') $ModuleBase -Recurse
    Copy-Item (Join-Path $Root 'LICENSE'), (Join-Path $Root 'NOTICE') $ModuleBase
    Build-Help

    Invoke-InPowerShell '-Command', "`$null = Test-ModuleManifest $(Format-Literal "$ModuleBase/Fleece.psd1") -ErrorAction Stop"
    Write-Information "Staged Fleece $Version in $ModuleBase" -InformationAction Continue
}

function Build-Help {
    $pages = Get-ChildItem (Join-Path $Root 'docs/en-US') -Filter *.md -ErrorAction Ignore
    if (-not $pages) {
        Write-Warning 'docs/en-US has no pages: the module has no help.'
        return
    }

    if (-not (Test-Path $ModuleBase)) { throw 'There is no staged module to write help for; run the Build task.' }
    $help = Join-Path $ModuleBase 'en-US'
    $null = New-Item $help -ItemType Directory -Force
    $topics, $cmdlets = $pages.Where({ $_.BaseName -like 'about_*' }, 'Split')
    foreach ($topic in $topics) {
        Copy-Item $topic.FullName (Join-Path $help "$($topic.BaseName).help.txt")
    }

    $cmdlets = @($cmdlets | Where-Object BaseName -Like '*-*')
    if ($cmdlets -and (Find-Tool Microsoft.PowerShell.PlatyPS 1.0 'the help of the cmdlets is not built.')) {
        Import-Module Microsoft.PowerShell.PlatyPS -MinimumVersion 1.0
        $scratch = Join-Path $Root 'output/maml'
        Import-MarkdownCommandHelp -Path $cmdlets.FullName |
            Export-MamlCommandHelp -OutputFolder $scratch -Force |
            Move-Item -Destination (Join-Path $help 'Fleece.dll-Help.xml') -Force
        Remove-Item $scratch -Recurse
    }
}

# The module's manifest; from NuGet's package where no Pester 5 is installed.
function Find-Pester {
    $installed = Get-Module Pester -ListAvailable | Where-Object { $_.Version.Major -eq 5 -and $_.Version -ge '5.5' } |
        Sort-Object Version -Descending | Select-Object -First 1
    if ($installed) { return $installed.Path }

    Write-Information "Pester 5 is not installed; NuGet's package of $PesterVersion is used." -InformationAction Continue
    Join-Path (Get-NuGetPackage pester $PesterVersion) tools/Pester.psd1
}

# The folder of a package, which NuGet brings where it is not there.
function Get-NuGetPackage([string] $Name, [string] $Version) {
    $project = Join-Path $CmdletTests 'Package.proj'
    Invoke-Native dotnet 'restore', $project, "-p:Package=$Name", "-p:PackageVersion=$Version" | Out-Host
    $packages = (Invoke-Native dotnet 'msbuild', $project, '-getProperty:NuGetPackageRoot').Trim()
    Join-Path $packages $Name $Version
}

function Invoke-Demo {
    Build-Module
    $module, $example = "$ModuleBase/Fleece.psd1", (Join-Path $Root 'docs/examples/first-backup.ps1') | ForEach-Object { Format-Literal $_ }
    Invoke-InPowerShell '-Command', "Import-Module $module; & $example"
}

# The cmdlet tests wait as often as they work, so they run beside the .NET tests. Their output is shown when these have ended, and one run
# tells the failures of both.
function Test-Module {
    Build-Module
    $cmdlets = @(Start-CmdletTests)
    $failure = $null
    Push-Location $Root
    try {
        # The runner is chosen by global.json, which is looked for from the current folder upwards.
        Invoke-Native dotnet test, '--solution', $Solution, '--configuration', $Configuration
    } catch {
        $failure = $_
    } finally {
        Pop-Location
    }

    Wait-CmdletTests $cmdlets
    if ($failure) { throw $failure }
}

# The tool of .NET is not compiled ahead of time as an installed PowerShell is, and the cmdlet tests start hundreds of processes with it.
# A copy that is compiled starts in half the time and changes no result.
function Get-CompiledPowerShell {
    $isX64 = [Runtime.InteropServices.RuntimeInformation]::ProcessArchitecture -eq 'X64'
    if ($PowerShell.Count -eq 1 -or -not $IsLinux -or -not $isX64) { return $PowerShell }

    $compiled = Join-Path $Root "output/powershell-$($PSVersionTable.PSVersion)"
    try {
        if (-not (Test-Path $compiled)) { Build-CompiledPowerShell $compiled }
    } catch {
        Write-Warning "PowerShell could not be compiled ahead of time, so the cmdlet tests take longer: $_"
        return $PowerShell
    }
    $PowerShell[0], "$compiled/pwsh.dll"
}

function Build-CompiledPowerShell([string] $Path) {
    $compiler = Join-Path (Get-NuGetPackage microsoft.netcore.app.crossgen2.linux-x64 ([Environment]::Version)) tools/crossgen2
    if (Test-Path "$Path.partial") { Remove-Item "$Path.partial" -Recurse -Force }
    Copy-Item $PSHOME "$Path.partial" -Recurse
    $names = 'System.Management.Automation.dll', 'Microsoft.PowerShell.*.dll', 'Newtonsoft.Json.dll', 'pwsh.dll'
    $runtime = [Runtime.InteropServices.RuntimeEnvironment]::GetRuntimeDirectory()
    foreach ($assembly in Get-ChildItem "$PSHOME/*" -Include $names) {
        # In a file, because PowerShell would expand the references.
        Set-Content "$Path.rsp" $assembly.FullName, '--out', "$Path.partial/$($assembly.Name)", '--targetos', 'linux',
            '--targetarch', 'x64', '-O', '-r', "$runtime*.dll", '-r', "$PSHOME/*.dll"
        Invoke-Native $compiler "@$Path.rsp" | Out-Null
    }
    Remove-Item "$Path.rsp"
    Move-Item "$Path.partial" $Path
}

# Begins the cmdlet tests in two processes of their own: with disks in the process of the tests, and with disks in a host.
function Start-CmdletTests {
    $program, $first = Get-CompiledPowerShell
    $arguments = @($first) + '-NoProfile', '-NonInteractive', '-File', (Join-Path $CmdletTests 'Run.ps1'), '-Pester', (Find-Pester),
        '-Module', "$ModuleBase/Fleece.psd1", '-Owner' -ne $null
    foreach ($owner in 'Process', 'Host') {
        Start-ThreadJob -ArgumentList $program, ($arguments + $owner) {
            param($program, $arguments)
            & $program @arguments 2>&1
            if ($LASTEXITCODE -ne 0) { throw "The cmdlet tests, '$($arguments[-2..-1])', ended with exit code $LASTEXITCODE." }
        }
    }
}

# Tells the output of one job behind that of the other, and then what failed.
function Wait-CmdletTests([object[]] $Job) {
    $failures = foreach ($one in $Job) {
        Receive-Job $one -Wait -ErrorAction SilentlyContinue -ErrorVariable failure | Out-Host
        $failure
    }
    Remove-Job $Job
    if ($failures) { throw $failures[0] }
}

# Outside the solution, whose packages every registry has.
function Build-DiscUtils {
    Assert-Sdk
    Push-Location $Root
    try {
        # The runner is chosen by global.json, as for the others.
        Invoke-Native dotnet test, '--project', (Join-Path $Root 'tests/Fleece.DiscUtils.Tests'), '--configuration', $Configuration
    } finally {
        Pop-Location
    }

    if (-not (Test-Path $ModuleBase)) {
        Write-Warning 'There is no staged module to add the adapter to; run the Build task first.'
        return
    }

    $built = Join-Path $Root "src/Fleece.DiscUtils/bin/$Configuration/net10.0"
    Copy-Item (Join-Path $built 'Fleece.DiscUtils.dll') $ModuleBase
    Get-ChildItem $built -Filter *.dll | Where-Object Name -NotLike 'Fleece.*' |
        Copy-Item -Destination (Join-Path $ModuleBase 'dependencies')
}

function Invoke-Lint {
    Assert-Sdk
    Invoke-Native dotnet format, $Solution, '--verify-no-changes'
    if (Find-Tool PSScriptAnalyzer 1.22 'the scripts are not analysed.') {
        Import-Module PSScriptAnalyzer -MinimumVersion 1.22
        $scripts = Get-ChildItem (Join-Path $Root 'build.ps1'), (Join-Path $Root 'docs'), (Join-Path $Root 'tests') `
            -Include *.ps1 -Recurse | Where-Object FullName -NotMatch '[\\/](bin|obj)[\\/]'
        $settings = Join-Path $Root 'PSScriptAnalyzerSettings.psd1'
        $findings = $scripts | ForEach-Object { Invoke-ScriptAnalyzer $_.FullName -Settings $settings }
        if ($findings) {
            $findings | ForEach-Object { "$($_.ScriptPath):$($_.Line): $($_.RuleName): $($_.Message)" } | Out-Host
            throw "PSScriptAnalyzer has $(@($findings).Count) findings."
        }
    }
}

function Clear-Output {
    Get-ChildItem (Join-Path $Root 'src'), (Join-Path $Root 'tests') -Directory -Recurse -Include bin, obj |
        Remove-Item -Recurse -Force
    Remove-Item (Join-Path $Root 'output') -Recurse -Force -ErrorAction Ignore
}

foreach ($name in $Task) {
    switch ($name) {
        'Build' { Build-Module }
        'Demo' { Invoke-Demo }
        'Docs' { Build-Help }
        'Test' { Test-Module }
        'Cmdlets' { Wait-CmdletTests @(Start-CmdletTests) }
        'DiscUtils' { Build-DiscUtils }
        'Lint' { Invoke-Lint }
        'Clean' { Clear-Output }
    }
}
