# SPDX-License-Identifier: MIT
<#
.SYNOPSIS
A PowerShell that answers questions, for tests of cmdlets that ask. The module shares its disks with it.
#>

if (-not ('AnsweringHost' -as [type])) {
    Add-Type @'
using System;
using System.Collections.Generic;
using System.Collections.ObjectModel;
using System.Globalization;
using System.Management.Automation;
using System.Management.Automation.Host;
using System.Security;

public sealed class AnsweringHost : PSHost
{
    private readonly AnsweringUI _ui;
    public AnsweringHost(string label) { _ui = new AnsweringUI(label); }
    public List<string> Questions { get { return _ui.Questions; } }
    public override CultureInfo CurrentCulture { get { return CultureInfo.InvariantCulture; } }
    public override CultureInfo CurrentUICulture { get { return CultureInfo.InvariantCulture; } }
    public override Guid InstanceId { get; } = Guid.NewGuid();
    public override string Name { get { return "Answers"; } }
    public override Version Version { get { return new Version(1, 0); } }
    public override PSHostUserInterface UI { get { return _ui; } }
    public override void EnterNestedPrompt() { throw new NotImplementedException(); }
    public override void ExitNestedPrompt() { throw new NotImplementedException(); }
    public override void NotifyBeginApplication() { }
    public override void NotifyEndApplication() { }
    public override void SetShouldExit(int exitCode) { }
}

public sealed class AnsweringUI : PSHostUserInterface
{
    private readonly string _label;
    public AnsweringUI(string label) { _label = label; }
    public List<string> Questions { get; } = new List<string>();
    public override PSHostRawUserInterface RawUI { get { return null; } }
    public override int PromptForChoice(string caption, string message, Collection<ChoiceDescription> choices, int defaultChoice)
    {
        Questions.Add(message);
        if (_label == "") { return defaultChoice; }
        for (int i = 0; i < choices.Count; i++)
        {
            if (choices[i].Label.Replace("&", "") == _label) { return i; }
        }
        throw new ArgumentException(_label);
    }
    public override Dictionary<string, PSObject> Prompt(string c, string m, Collection<FieldDescription> d) { throw new NotImplementedException(); }
    public override PSCredential PromptForCredential(string c, string m, string u, string t) { throw new NotImplementedException(); }
    public override PSCredential PromptForCredential(
        string c, string m, string u, string t, PSCredentialTypes a, PSCredentialUIOptions o) { throw new NotImplementedException(); }
    public override string ReadLine() { throw new NotImplementedException(); }
    public override SecureString ReadLineAsSecureString() { throw new NotImplementedException(); }
    public override void Write(string value) { }
    public override void Write(ConsoleColor foreground, ConsoleColor background, string value) { }
    public override void WriteLine(string value) { }
    public override void WriteErrorLine(string value) { }
    public override void WriteDebugLine(string message) { }
    public override void WriteProgress(long sourceId, ProgressRecord record) { }
    public override void WriteVerboseLine(string message) { }
    public override void WriteWarningLine(string message) { }
}
'@
}

# Runs a script, in the location of the test, where each question is answered alike: Yes, No, 'Yes to All', 'No to All', or '' for its default.
function Invoke-Answering([string] $Label, [string] $Script) {
    $answering = [AnsweringHost]::new($Label)
    $runspace = [runspacefactory]::CreateRunspace($answering)
    $runspace.Open()
    $shell = [powershell]::Create($runspace)
    try {
        $null = $shell.AddScript('param($Module, $Location) Import-Module $Module; Set-Location -LiteralPath $Location')
        $null = $shell.AddArgument((Get-ModuleUnderTest)).AddArgument("$PWD").Invoke()
        $shell.Commands.Clear()
        $output = $shell.AddScript($Script).Invoke()
        [pscustomobject]@{
            Output = @($output); Questions = $answering.Questions; Errors = @($shell.Streams.Error); Progress = @($shell.Streams.Progress)
        }
    } finally {
        $shell.Dispose()
        $runspace.Dispose()
    }
}
