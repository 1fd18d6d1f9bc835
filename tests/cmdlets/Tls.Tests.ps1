# SPDX-License-Identifier: MIT
# Matter: TLS between a server and its clients.

BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    Import-ModuleUnderTest

    # A certificate that is signed by another one, or by itself where none is given.
    function New-TestCertificate([string] $Subject, $Authority) {
        $key = [Security.Cryptography.ECDsa]::Create()
        $request = [Security.Cryptography.X509Certificates.CertificateRequest]::new(
            "CN=$Subject", $key, [Security.Cryptography.HashAlgorithmName]::SHA256)
        $names = [Security.Cryptography.X509Certificates.SubjectAlternativeNameBuilder]::new()
        $names.AddDnsName('localhost')
        $request.CertificateExtensions.Add($names.Build())
        $isAuthority = -not $Authority
        $request.CertificateExtensions.Add(
            [Security.Cryptography.X509Certificates.X509BasicConstraintsExtension]::new($isAuthority, $false, 0, $true))
        $from = [DateTimeOffset]::Now.AddDays(-1)
        if ($isAuthority) { return $request.CreateSelfSigned($from, $from.AddDays(3)) }
        $serial = [byte[]]::new(8)
        [Random]::new().NextBytes($serial)
        $signed = $request.Create($Authority, $from, $from.AddDays(2), $serial)
        [Security.Cryptography.X509Certificates.ECDsaCertificateExtensions]::CopyWithPrivateKey($signed, $key)
    }
}

Describe 'TLS' {
    BeforeAll {
        $signer = New-TestCertificate 'authority'
        $script:made = @{
            Authority = $signer
            Server = New-TestCertificate 'server' $signer
            Client = New-TestCertificate 'client' $signer
            Stranger = New-TestCertificate 'stranger'
        }

        # A host takes the paths of files, because keys do not go over its socket.
        function Get-CertificateArgument([string] $Name) {
            $certificate = $script:made[$Name]
            if (-not (Test-ThroughHost)) { return $certificate }
            $key = [Security.Cryptography.X509Certificates.ECDsaCertificateExtensions]::GetECDsaPrivateKey($certificate)
            $path = "$TestDrive/$Name.pem"
            Set-Content $path $certificate.ExportCertificatePem(), $key.ExportPkcs8PrivateKeyPem()
            $path
        }

        $script:authority = Get-CertificateArgument Authority
        $script:serverCertificate = Get-CertificateArgument Server
        $script:clientCertificate = Get-CertificateArgument Client
        $script:stranger = Get-CertificateArgument Stranger
    }
    BeforeEach {
        Enter-TestFolder
        $script:old = Get-RandomData 1MB
        New-MountedDisk -Data $old
        $null = Start-FleeceSession vm -Name nightly
    }
    AfterEach {
        Get-FleeceDisk | Where-Object Path -Like 'nbd*' | Dismount-FleeceDisk -Force
        Exit-TestFolder
    }

    It 'encrypts <Address>' -ForEach @(
        @{ Address = 'nbds://localhost:0' }
        @{ Address = 'nbds+unix:///?socket=vm.sock' }
    ) {
        $export = Publish-FleeceExport vm $Address -TlsCertificate $serverCertificate

        $null = Read-FleeceSnapshot -Uri "$($export.Uris[1])" -TlsAuthority $authority | Export-Backup ./b.raw

        Test-SameData ([IO.File]::ReadAllBytes("$PWD/b.raw")[0..(1MB - 1)]) $old | Should -BeTrue
    }

    It 'takes certificates from <Kind> files' -ForEach @(
        @{ Kind = '.pem' }
        @{ Kind = '.pfx' }
    ) {
        Set-Content ca.pem $made.Authority.ExportCertificatePem()
        if ($Kind -eq '.pem') {
            $key = [Security.Cryptography.X509Certificates.ECDsaCertificateExtensions]::GetECDsaPrivateKey($made.Server)
            Set-Content server.pem $made.Server.ExportCertificatePem(), `
                $key.ExportPkcs8PrivateKeyPem()
        } else {
            [IO.File]::WriteAllBytes("$PWD/server.pfx", $made.Server.Export('Pkcs12'))
        }

        $export = Publish-FleeceExport vm nbds://localhost:0 -TlsCertificate "./server$Kind"

        (Mount-FleeceDisk "$($export.Uri)" -Name remote -TlsAuthority (Get-Item ca.pem)).SizeBytes | Should -Be 2MB
    }

    It 'serves a client whose certificate the authority signed' {
        $export = Publish-FleeceExport vm nbds://localhost:0 -TlsCertificate $serverCertificate -TlsAuthority $authority

        (Mount-FleeceDisk "$($export.Uri)" -Name remote -TlsAuthority $authority -TlsCertificate $clientCertificate).SizeBytes |
            Should -Be 2MB
    }

    It 'refuses a client <Case>' -ForEach @(
        @{ Case = 'without a certificate'; Certificate = { @{} } }
        @{ Case = 'with a certificate of another authority'; Certificate = { @{ TlsCertificate = $stranger } } }
    ) {
        $export = Publish-FleeceExport vm nbds://localhost:0 -TlsCertificate $serverCertificate -TlsAuthority $authority
        $tls = & $Certificate

        Get-FailureId { Mount-FleeceDisk "$($export.Uri)" -Name remote -TlsAuthority $authority @tls -ErrorAction Stop } |
            Should -Be 'TlsFailed,Fleece.MountFleeceDiskCommand'

        (Get-FleeceDisk).Name | Should -Be 'vm'
        (Get-FleeceExport vm).ConnectionCount | Should -Be 0
    }

    It 'is refused as TlsFailed: a client that <Case>' -ForEach @(
        @{ Case = 'trusts another authority'; Uri = { "$($args[0])" }; Trusted = { $stranger } }
        @{ Case = 'finds another name in the certificate'; Uri = { "nbds://127.0.0.1:$($args[0].Port)/vm" }; Trusted = { $authority } }
        @{ Case = 'asks in plain text'; Uri = { "nbd://localhost:$($args[0].Port)/vm" }; Trusted = { $authority } }
    ) {
        $export = Publish-FleeceExport vm nbds://localhost:0 -TlsCertificate $serverCertificate

        Get-FailureId { Mount-FleeceDisk (& $Uri $export.Uri) -Name remote -TlsAuthority (& $Trusted) -ErrorAction Stop } |
            Should -Be 'TlsFailed,Fleece.MountFleeceDiskCommand'

        (Get-FleeceDisk).Name | Should -Be 'vm'
    }

    It 'is never less than what was asked for: <Case>' -ForEach @(
        @{ Case = 'a certificate at a plain address'; Id = 'TlsFailed'
            Command = { Publish-FleeceExport vm nbd://localhost:0 -TlsCertificate $serverCertificate -ErrorAction Stop } }
        @{ Case = 'TLS without a certificate'; Id = 'TlsFailed'
            Command = { Publish-FleeceExport vm nbds://localhost:0 -ErrorAction Stop } }
        @{ Case = 'authorities without a certificate'; Id = 'ArgumentInvalid'
            Command = { Publish-FleeceExport vm nbd://localhost:0 -TlsAuthority $authority -ErrorAction Stop } }
        @{ Case = 'a certificate without its key'; Id = 'ParameterArgumentTransformationError'
            Command = { Publish-FleeceExport vm nbds://localhost:0 -TlsCertificate ./ca.pem -ErrorAction Stop } }
        @{ Case = 'what is no certificate'; Id = 'ParameterArgumentTransformationError'
            Command = { Publish-FleeceExport vm nbds://localhost:0 -TlsCertificate 7 -ErrorAction Stop } }
        @{ Case = 'a file that is not there'; Id = 'ParameterArgumentTransformationError'
            Command = { Publish-FleeceExport vm nbds://localhost:0 -TlsCertificate ./no.pem -ErrorAction Stop } }
    ) {
        Set-Content ca.pem $made.Authority.ExportCertificatePem()

        Get-FailureId $Command | Should -Be "$Id,Fleece.PublishFleeceExportCommand"

        Get-FleeceExport | Should -BeNullOrEmpty
    }

    It 'is not weakened by joining a listener: <Case>' -ForEach @(
        @{ Case = 'TLS at a plain one'; Id = 'TlsFailed'; Scheme = 'nbd'; First = { @{} }; Asked = 'nbds'
            Tls = { @{ TlsCertificate = $serverCertificate } } }
        @{ Case = 'client certificates where none are demanded'; Id = 'ArgumentInvalid'; Scheme = 'nbds'; Asked = 'nbds'
            First = { @{ TlsCertificate = $serverCertificate } }
            Tls = { @{ TlsCertificate = $serverCertificate; TlsAuthority = $authority } } }
        @{ Case = 'another certificate'; Id = 'ArgumentInvalid'; Scheme = 'nbds'; Asked = 'nbds'
            First = { @{ TlsCertificate = $serverCertificate } }; Tls = { @{ TlsCertificate = $clientCertificate } } }
    ) {
        New-MountedDisk -Name other
        $first = & $First
        $tls = & $Tls
        $null = Publish-FleeceExport vm "${Scheme}+unix:///?socket=vm.sock" @first

        Get-FailureId { Publish-FleeceExport other "${Asked}+unix:///?socket=vm.sock" @tls -ErrorAction Stop } |
            Should -Be "$Id,Fleece.PublishFleeceExportCommand"

        (Get-FleeceExport).Name | Should -Be 'vm'
    }

    It 'opens an address beyond this machine' {
        (Publish-FleeceExport vm nbds://0.0.0.0:0 -TlsCertificate $serverCertificate).Uri.IsTls | Should -BeTrue
        (Publish-FleeceExport vm nbd://0.0.0.0:0 -AllowInsecure).Uri.IsTls | Should -BeFalse
    }
}
