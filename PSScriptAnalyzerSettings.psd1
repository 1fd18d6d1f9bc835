# SPDX-License-Identifier: MIT
@{
    Severity     = @('Error', 'Warning')
    ExcludeRules = @(
        # It does not see that a function of the script uses the script's parameter.
        'PSReviewUnusedParameter'
        # Functions inside a script are not cmdlets; nobody calls them with -WhatIf.
        'PSUseShouldProcessForStateChangingFunctions'
    )
}
