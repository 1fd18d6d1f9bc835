# SPDX-License-Identifier: MIT
BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    Import-ModuleUnderTest
}

Describe 'A session limited to ranges' {
    BeforeEach {
        Enter-TestFolder
        New-MountedDisk -Data (Get-RandomData 2MB)
    }
    AfterEach { Exit-TestFolder }

    It 'reads the range that <Kind> names' -ForEach @(
        @{ Kind = 'a hashtable'; Range = @{ OffsetBytes = 64KB; LengthBytes = 8KB } }
        @{ Kind = 'an ordered hashtable'; Range = [ordered]@{ OffsetBytes = 64KB; LengthBytes = 8KB } }
        @{ Kind = 'a custom object'; Range = [pscustomobject]@{ OffsetBytes = 64KB; LengthBytes = 8KB } }
        @{ Kind = 'an object from JSON'; Range = '{ "OffsetBytes": 65536, "LengthBytes": 8192 }' | ConvertFrom-Json }
        @{ Kind = 'a row of CSV'; Range = 'OffsetBytes,LengthBytes', '65536,8192' | ConvertFrom-Csv }
        @{ Kind = 'an object with selected properties'
            Range = [pscustomobject]@{ OffsetBytes = 64KB; LengthBytes = 8KB; State = 'x' } | Select-Object OffsetBytes, LengthBytes }
    ) {
        $session = Start-FleeceSession vm -Range $Range

        $chunk = Read-FleeceSnapshot $session
        $chunk.OffsetBytes | Should -Be 64KB
        $chunk.LengthBytes | Should -Be 8KB
    }

    It 'takes the runs of a map' {
        $first = Start-FleeceSession vm -Name first
        Write-FleeceDisk vm 256KB (Get-RandomData 64KB -Seed 9)
        Write-FleeceDisk vm 1MB (Get-RandomData 4KB -Seed 9)

        $second = Start-FleeceSession vm -Name second -Range @(Get-FleeceSnapshotMap $first | Where-Object State -EQ Copied)

        $chunks = Read-FleeceSnapshot $second
        $chunks.OffsetBytes | Should -Be 256KB, 1MB
        $chunks.LengthBytes | Should -Be 64KB, 4KB
    }

    It 'is widened to whole granules' {
        $session = Start-FleeceSession vm -Range @{ OffsetBytes = 5000; LengthBytes = 1 }

        (Read-FleeceSnapshot $session).OffsetBytes | Should -Be 4096
        (Get-FleeceSnapshotMap $session).State | Should -Be 'Denied', 'Untouched', 'Denied'
    }

    It 'reads nothing when the list of ranges is empty' {
        $session = Start-FleeceSession vm -Range @()

        Read-FleeceSnapshot $session | Should -BeNullOrEmpty
        (Get-FleeceSnapshotMap $session).State | Should -Be 'Denied'
    }

    It 'copies nothing outside its ranges' {
        $session = Start-FleeceSession vm -Range @{ OffsetBytes = 1MB; LengthBytes = 4KB }

        Write-FleeceDisk vm 0 ([byte[]]::new(2MB))

        (Get-FleeceSession $session).CopiedBytes | Should -Be 4KB
    }

    It 'is refused when a range is <Kind>' -ForEach @(
        @{ Kind = 'incomplete'; Range = @{ OffsetBytes = 1 }; Id = 'ParameterArgumentTransformationError' }
        @{ Kind = 'no number'; Range = @{ OffsetBytes = 'x'; LengthBytes = 1 }; Id = 'ParameterArgumentTransformationError' }
        @{ Kind = 'negative'; Range = @{ OffsetBytes = -1; LengthBytes = 1 }; Id = 'ParameterArgumentTransformationError' }
        @{ Kind = 'too long'; Range = @{ OffsetBytes = 1MB; LengthBytes = 2MB }; Id = 'RangeBeyondEnd' }
        @{ Kind = 'of another type'; Range = 'everything'; Id = 'ParameterArgumentTransformationError' }
    ) {
        { Start-FleeceSession vm -Range $Range } | Should -Throw -ErrorId "$Id,Fleece.StartFleeceSessionCommand"

        Get-FleeceSession | Should -BeNullOrEmpty
    }
}
