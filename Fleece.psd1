@{
    RootModule           = 'Fleece.dll'
    ModuleVersion        = '0.1.0'
    GUID                 = '6f0c3e2c-6f0b-4bb8-8a55-1d1f6a3f5b0e'
    Author               = 'The Fleece authors'
    CompanyName          = 'The Fleece authors'
    Copyright            = '(c) 2026 The Fleece authors. MIT licence.'
    Description          = 'A consistent point-in-time view of a disk image while a guest goes on writing to it, piped chunk by chunk to any target.'
    CompatiblePSEditions = @('Core')
    PowerShellVersion    = '7.6'
    FormatsToProcess     = @('Fleece.Format.ps1xml')
    TypesToProcess       = @('Fleece.Types.ps1xml')
    CmdletsToExport      = @(
        'Backup-FleeceDisk'
        'Clear-FleeceBitmap'
        'Clear-FleeceSnapshot'
        'Compare-FleeceImage'
        'Connect-FleeceHost'
        'Convert-FleeceImage'
        'Disable-FleeceBitmap'
        'Disconnect-FleeceHost'
        'Dismount-FleeceDisk'
        'Enable-FleeceBitmap'
        'Export-FleeceBackup'
        'Export-FleeceMetric'
        'Get-FleeceBackup'
        'Get-FleeceBitmap'
        'Get-FleeceDisk'
        'Get-FleeceExport'
        'Get-FleeceHost'
        'Get-FleeceImage'
        'Get-FleeceMetric'
        'Get-FleeceQemuDisk'
        'Get-FleeceSession'
        'Get-FleeceSnapshotMap'
        'Install-FleeceHost'
        'Measure-FleeceSession'
        'Merge-FleeceBitmap'
        'Mount-FleeceDisk'
        'New-FleeceBitmap'
        'New-FleeceImage'
        'Publish-FleeceExport'
        'Read-FleeceDisk'
        'Read-FleeceSnapshot'
        'Remove-FleeceBitmap'
        'Restore-FleeceBackup'
        'Resume-FleeceSession'
        'Start-FleeceHost'
        'Start-FleeceSession'
        'Stop-FleeceSession'
        'Test-FleeceBackup'
        'Test-FleeceImage'
        'Uninstall-FleeceHost'
        'Unpublish-FleeceExport'
        'Write-FleeceDisk'
    )
    AliasesToExport      = @('Export-Backup')
    FunctionsToExport    = @()
    VariablesToExport    = @()
    PrivateData          = @{
        PSData = @{
            Tags         = @('Backup', 'Snapshot', 'VHD', 'VHDX', 'qcow2', 'NBD', 'HyperV', 'QEMU', 'PSEdition_Core')
            LicenseUri   = 'https://opensource.org/license/mit'
            ReleaseNotes = 'See CHANGELOG.md.'
        }
    }
}
